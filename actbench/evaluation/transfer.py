"""Zero-shot transfer: a fine-tuned run tested on another data set of its kind, without learning anything from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from actbench.data.encoding import EncodedExamples
from actbench.data.glue import NLI
from actbench.data.tasks import AnyExample, Example, Task
from actbench.errors import RunFailed
from actbench.evaluation.load import (
    TOKENIZER,
    check_weights_are_here,
    device_of,
    load_finetuned,
    recipe_of,
    settings_of,
    task_of,
)
from actbench.evaluation.objectives import Objective, Verdict, objective_of
from actbench.evaluation.outputs import predict
from actbench.evaluation.transfer_plan import MEASURE, TransferPlan
from actbench.nn.stack import Stack
from actbench.store import Run, RunWriter, claim, environment
from actbench.store.atomic import write_json

TEST = "test"  # the one set of scores


def evaluate_transfer(planned: TransferPlan) -> Run:
    """Tests what is planned and keeps it as a run, or finds it tested.

    Raises BadInput where its parent's weights are not here or do not load, RunFailed for outputs not finite.
    """
    if planned.run.manifest is not None:
        return planned.run
    check_weights_are_here(planned.parent)
    began = time.perf_counter()
    device = device_of(recipe_of(planned.parent))
    with claim(planned.folder) as writer:
        if planned.run.manifest is not None:  # another process has finished it meanwhile
            return planned.run
        writer.begin()
        _describe(planned, writer, device)
        try:
            verdict = _judge(planned, device)
        except RunFailed as error:
            writer.fail(str(error))
            raise RunFailed(f"{planned.folder.name}: {error}") from None
        if verdict.predictions is not None:
            write_json(writer.folder / "predictions.json", verdict.predictions)
        headline = planned.task.headline
        return writer.commit(
            {
                "task": planned.task.name,
                "scores": {TEST: verdict.scores},
                "headline": {"metric": headline, "value": verdict.scores[headline]},
                "examples": len(planned.examples),
                "seconds": round(time.perf_counter() - began, 3),
            }
        )


def answer(
    run: Run, examples: Sequence[AnyExample], device: str
) -> tuple[Objective, EncodedExamples, list[np.ndarray]]:
    """A fine-tuned run's kind of task, the examples as its inputs, and its outputs for them.

    Computed in fp32, so that it does not depend on the machine's low precision. Raises BadInput when its weights do not
    load.
    """
    model, settings = load_finetuned(run), settings_of(run)
    objective = objective_of(task_of(run), settings)
    length = min(settings.length, model.encoder.positions.num_embeddings)
    encoded = objective.encode(run.folder / TOKENIZER, examples, length)
    (outputs,) = predict(Stack([model]).to(device), [encoded])
    return objective, encoded, outputs


def _judge(planned: TransferPlan, device: str) -> Verdict:
    examples = _relabelled(planned.examples, task_of(planned.parent))
    objective, encoded, outputs = answer(planned.parent, examples, device)
    chosen = Verdict({}, null_threshold=planned.parent.summary.get("null_threshold"))
    return objective.judge(encoded, outputs, chosen)


def _relabelled(examples: Sequence[AnyExample], learned: Task) -> list[AnyExample]:
    """Pairs with their labels as the learned task numbers them; questions as they are."""
    return [
        replace(example, label=float(learned.labels.index(NLI[int(example.label)])))
        if isinstance(example, Example)
        else example
        for example in examples
    ]


def _describe(planned: TransferPlan, writer: RunWriter, device: str) -> None:
    parent, task = planned.parent.info, planned.task
    hardware = {"device": device, "precision": "fp32", "compiled": False, "threads": torch.get_num_threads()}
    of_data = {"hash": planned.data_hash, "learned": parent["task"]["name"], "test": planned.test}
    writer.describe(
        {
            "kind": "evaluate",
            "measure": MEASURE,
            "parent": planned.parent.id,
            **{key: parent[key] for key in ("recipe", "code", "model", "finetune", "finetune_seed")},
            "task": {**asdict(task), "headline": task.headline},
            "data": {**of_data, **planned.facts},
            "hardware": hardware,
            "environment": environment(),
        }
    )
