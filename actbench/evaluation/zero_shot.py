"""Zero-shot evaluation of finished decoders: a run of its own for each task."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from actbench.data.requests import RequestTask
from actbench.errors import ActbenchError, BadInput, RunFailed
from actbench.evaluation.scoring import Score, Scorer
from actbench.evaluation.zero_shot_metrics import results
from actbench.evaluation.zero_shot_plan import MEASURE, HarnessTask, ZeroShotPlan
from actbench.store import Run, RunWriter, claim, environment, identity_hash
from actbench.store.atomic import write_text

Say = Callable[[str], None]
BATCH_SIZE = 32


def zero_shot(plans: Sequence[ZeroShotPlan], say: Say, batch_size: int = BATCH_SIZE) -> Iterator[Run]:
    """Scores what is planned and keeps it as runs, or finds them; a model is loaded once for its tasks in a row.

    Scores do not depend on the batch size but for rounding. What fails stops no other: at the end, raises RunFailed
    where a log-likelihood was not a number, BadInput where a task of lm-evaluation-harness could not be had.
    """
    scorer: Scorer | None = None
    loaded = ""
    failed: list[ActbenchError] = []
    for planned in plans:
        if planned.run.manifest is None:
            if scorer is None or loaded != planned.parent.id:
                scorer, loaded = Scorer(planned.parent, batch_size), planned.parent.id
            say(f"{planned.task.name}: scoring {planned.parent.id}")
            try:
                _evaluate(planned, scorer)
            except (RunFailed, BadInput) as error:
                failed.append(error)
                continue
        yield planned.run
    if failed:
        raise failed[0] if len(failed) == 1 else RunFailed("\n".join(map(str, failed)))


@dataclass(frozen=True)
class _Measured:
    """JSON data: what came out, what the task is, what its items are, and the log-likelihoods of each of them."""

    found: dict[str, Any]
    task: dict[str, Any]
    data: dict[str, Any]
    items: list[dict[str, Any]]


def _evaluate(planned: ZeroShotPlan, scorer: Scorer) -> None:
    began = time.perf_counter()
    try:
        measured = _measure(planned.task, scorer)
    except RunFailed as error:
        with claim(planned.folder) as writer:
            writer.fail(str(error))
        raise
    with claim(planned.folder) as writer:
        if planned.run.manifest is not None:  # another process has finished it meanwhile
            return
        _describe(planned, writer, scorer, measured)
        if measured.items:
            lines = [json.dumps(item) + "\n" for item in measured.items]
            write_text(planned.folder / "items.jsonl", "".join(lines))
        seconds = round(time.perf_counter() - began, 3)
        writer.commit({"task": planned.task.name, **measured.found, "seconds": seconds})


def _measure(task: RequestTask | HarnessTask, scorer: Scorer) -> _Measured:
    if isinstance(task, HarnessTask):
        from actbench.evaluation.harness import measure

        return _Measured(*measure(task, scorer), [])
    scores = score_items(task, scorer)
    found = results(task, scores)
    facts = {
        "items": len(task.items),
        "cut_contexts": sum(score.cut and not score.split for own in scores for score in own),
        "split_continuations": sum(score.split for own in scores for score in own),
        "headline": {"metric": task.headline, "value": found["scores"][task.headline]},
    }
    about = {"name": task.name, "kind": task.kind, "metrics": list(found["scores"]), "headline": task.headline}
    items = [
        {"id": item.id, "gold": item.gold, "log_likelihoods": [score.log_likelihood for score in own]}
        for item, own in zip(task.items, scores, strict=True)
    ]
    return _Measured({**found, **facts}, about, task.facts, items)


def score_items(task: RequestTask, scorer: Scorer) -> list[list[Score]]:
    """The score of every request of every item."""
    flat = iter(scorer.score([(r.context, r.continuation) for item in task.items for r in item.requests]))
    return [[next(flat) for _ in item.requests] for item in task.items]


def _describe(planned: ZeroShotPlan, writer: RunWriter, scorer: Scorer, measured: _Measured) -> None:
    parent, data = planned.parent.info, measured.data
    writer.describe(
        {
            "kind": "evaluate",
            "measure": MEASURE,
            "parent": planned.parent.id,
            "recipe": parent["recipe"],
            "code": parent["code"],
            "model": parent["model"],
            "task": {**measured.task, "stand_in": False},
            "data": {"hash": identity_hash({"parent": parent["data"]["hash"], "items": data["items_sha256"]}), **data},
            "hardware": {
                "device": scorer.device,
                "precision": "fp32",
                "compiled": False,
                "threads": torch.get_num_threads(),
                "batch_size": scorer.batch_size,
            },
            "environment": environment(),
        }
    )
