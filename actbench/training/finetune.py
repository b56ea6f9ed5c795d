"""Fine-tuning a pre-trained BERT: many small runs in one process, sharing data and weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
from safetensors.torch import save_file, save_model

from actbench.config.schema import HardwareSection
from actbench.data.encoding import EncodedExamples
from actbench.data.tasks import AnyExample
from actbench.errors import BadInput, RunFailed
from actbench.evaluation.load import TOKENIZER, WEIGHTS, load, recipe_of, recorded_recipe
from actbench.evaluation.objectives import Objective, objective_of
from actbench.evaluation.outputs import predict, tensors
from actbench.nn.bert import Bert
from actbench.nn.build import activation_slots
from actbench.nn.stack import Stack
from actbench.store import Run, RunWriter, claim, environment
from actbench.store.atomic import replacing, write_json
from actbench.training.activation_record import coefficients, describe, sample_inputs
from actbench.training.finetune_plan import FinetunePlan
from actbench.training.finetune_stack import STOPPED, Epochs, FinetuneModule, Member, Selection
from actbench.training.hardware import Hardware, choose, compile_pieces, forget_graphs
from actbench.training.plan import Say
from actbench.training.signals import stoppable
from actbench.training.trainer import quiet_trainer
from actbench.training.tuning import tune

MOST = 8  # runs side by side
SMALL = 1 << 16  # numbers in the hidden states of a batch: in larger ones matrix products take most of the time
MEMORY = 1 << 30  # bytes for the weights of a stack
ENCODED = 4 * MOST  # sets kept: two of each run side by side, and those that all are tested on
# From so many steps of a model so wide compiling takes less time than it saves.
COMPILED_STEPS, COMPILED_WIDTH = 500, 256
COPIES = 5 * 4  # bytes a weight: it, its gradient, AdamW's two moments, the best so far


def finetune(plans: Iterable[FinetunePlan], say: Say) -> Iterator[Run]:
    """Runs the plans in order and yields each run; those found finished are not repeated.

    A run whose loss stops being a number is yielded unfinished, its reason recorded, and stops no other. Nor does one
    that another process trains, which is left to it.
    Raises Interrupted after a signal: the runs before it stand.
    """
    for _, alike in groupby(plans, key=_shape):
        group = list(alike)
        todo = [plan for plan in group if plan.run.manifest is None]
        if todo and (hardware := _hardware(todo[0])).compiled:
            forget_graphs(recipe_of(todo[0].parent).model.n_layers)
        while todo:
            size = together(todo[0])
            now, todo = todo[:size], todo[size:]
            held = _finetune(now, hardware)
            for plan in now:
                say(f"{plan.run.id}: {held.get(plan.run.id) or _ended(plan.run)}")
        yield from (plan.run for plan in group)


def together(plan: FinetunePlan) -> int:
    """How many runs like this one to train side by side: several where steps are small, and there is memory for them.

    One where an activation draws random numbers, for torch's generator would give it others than alone; of span tasks,
    for a text has as many windows as it needs, so that runs differ in their number of batches; and of compiled models.
    """
    if plan.data.task.kind == "spans" or _hardware(plan).compiled:
        return 1
    model = _pretrained(plan.parent)
    train, _ = _examples(plan)
    tokens = min(plan.settings.batch_size, len(train)) * train.lengths.mean()
    hidden = tokens * recipe_of(plan.parent).model.d_model
    if hidden > SMALL or any(activation.draws for activation in activation_slots(model).values()):
        return 1
    fitting = MEMORY // (COPIES * sum(parameter.numel() for parameter in model.parameters()))
    return max(1, min(MOST, fitting))


def _shape(plan: FinetunePlan) -> tuple[Any, ...]:
    """What runs that train side by side have in common: all but the seed, rates and decay."""
    settings = plan.settings.model_dump(exclude={"lr", "activation_lr", "weight_decay", "activation_weight_decay"})
    return plan.parent.id, plan.data.task.name, tuple(settings.items())


def _finetune(plans: list[FinetunePlan], hardware: Hardware) -> dict[str, str]:
    """Runs plans of one shape side by side. Returns why those were left out that were, by run."""
    held = {}
    with ExitStack() as claims:
        members = []
        for plan in plans:
            try:
                writer = claims.enter_context(claim(plan.folder))
            except BadInput as error:
                held[plan.run.id] = str(error)
                continue
            if plan.run.manifest is None:  # another process may have finished it meanwhile
                members.append(_member(plan, writer))
        if members:
            _train(members, hardware)
    return held


def _ended(run: Run) -> str:
    if run.manifest is None:
        return f"failed: {run.failure}"
    headline = run.summary["headline"]
    return f"{headline['metric']} {headline['value']:.4f}"


def _member(plan: FinetunePlan, writer: RunWriter) -> Member:
    writer.begin()
    for left in (writer.metrics_path, writer.folder / WEIGHTS):
        left.unlink(missing_ok=True)
    train, selection = _examples(plan)
    objective, recipe = objective_of(plan.data.task, plan.settings), recipe_of(plan.parent)
    assert recipe.model.family == "bert"
    model = objective.model(copy.deepcopy(_pretrained(plan.parent)), recipe.model, plan.seed)
    trained = tune(model, plan.settings.tune, plan.seed)
    return Member(plan, writer, objective, model, trained, train, selection)


def _train(members: list[Member], hardware: Hardware) -> None:
    began = time.perf_counter()
    plan = members[0].plan
    for member in members:
        _describe(member, hardware)
    steps = -(-len(members[0].train) // plan.settings.batch_size)
    module = FinetuneModule(members, plan.settings.epochs * steps, compiled=hardware.compiled)
    if hardware.compiled:
        compile_pieces(module.stack.joint.encoder)
    with stoppable(STOPPED) as stop:
        trainer = quiet_trainer(hardware, Selection(hardware, stop), max_epochs=plan.settings.epochs)
        trainer.fit(module, Epochs(module, steps))
    whole = [member for member in members if not member.failure]
    if whole:
        _finish(whole, hardware, began)
    for member in members:
        if member.failure:
            member.writer.fail(member.failure)


def _hardware(plan: FinetunePlan) -> Hardware:
    """What to train with; alike for all seeds and rates, whatever else there is to do."""
    settings, recipe = plan.settings, recipe_of(plan.parent)
    way, width = settings.compile, recipe.model.d_model
    steps = settings.epochs * plan.train_examples / settings.batch_size
    if way == "auto" and (steps < COMPILED_STEPS or width < COMPILED_WIDTH):
        way = "never"
    section = HardwareSection(device=recipe.hardware.device, precision=settings.precision, compile=way)
    hardware = choose(section, width, compile_key="compile")
    if way == "auto" and hardware.device != "cpu":  # what it would take there has not been measured
        return replace(hardware, compiled=False)
    return hardware


def _finish(members: list[Member], hardware: Hardware, began: float) -> None:
    """Tests every member with its best weights, and commits it."""
    for member in members:
        member.model.load_state_dict(member.best)
    stack = Stack([member.model for member in members]).to(hardware.device)  # Lightning takes it off the device
    data = members[0].plan.data
    sets = {name: _encoded(members[0].plan, tuple(examples)) for name, examples in data.evaluation.items()}
    found = {name: predict(stack, [test] * len(members), hardware.autocast()) for name, test in sets.items()}
    for number, member in enumerate(members):
        try:
            verdicts = {
                name: member.objective.judge(test, found[name][number], member.chosen) for name, test in sets.items()
            }
        except RunFailed as error:
            member.failure = str(error)
            continue
        _save(member, hardware)
        first = next(iter(verdicts.values()))
        if first.predictions is not None:
            write_json(member.writer.folder / "predictions.json", first.predictions)
        chosen = {} if first.null_threshold is None else {"null_threshold": first.null_threshold}
        member.writer.commit(
            {
                "task": data.task.name,
                "scores": {name: verdict.scores for name, verdict in verdicts.items()},
                "headline": {"metric": data.task.headline, "value": first.scores[data.task.headline]},
                **chosen,
                "selection": member.best_score,
                "epochs": member.epochs,
                "best_epoch": member.best_epoch,
                "train_examples": member.plan.train_examples,
                "trained_parameters": member.trained.total,
                "trained_parameters_without_head": member.trained.without_head,
                "seconds": round((time.perf_counter() - began) / len(members), 3),
            }
        )


@lru_cache(maxsize=1)
def _pretrained(parent: Run) -> Bert:
    model = load(parent)
    assert isinstance(model, Bert)
    return model


def _examples(plan: FinetunePlan) -> tuple[EncodedExamples, EncodedExamples]:
    """Those to learn from, and those that choose the epoch."""
    train, selection = plan.train_and_selection()
    return _encoded(plan, tuple(train)), _encoded(plan, tuple(selection))


def _encoded(plan: FinetunePlan, examples: tuple[AnyExample, ...]) -> EncodedExamples:
    objective = objective_of(plan.data.task, plan.settings)
    length = min(plan.settings.length, recipe_of(plan.parent).batch.length)
    return _encoded_once(plan.parent, objective, examples, length)


@lru_cache(maxsize=ENCODED)
def _encoded_once(parent: Run, objective: Objective, examples: tuple[AnyExample, ...], length: int) -> EncodedExamples:
    return objective.encode(parent.folder / TOKENIZER, examples, length)


def _describe(member: Member, hardware: Hardware) -> None:
    plan, parent, encoder = member.plan, member.plan.parent.info, member.model.encoder
    member.writer.describe(
        {
            "kind": "finetune",
            "parent": plan.parent.id,
            "recipe": parent["recipe"],
            "code": parent["code"],
            "model": parent["model"],
            "encoder": {"vocabulary_size": encoder.tokens.num_embeddings, "length": encoder.positions.num_embeddings},
            "task": {**asdict(plan.data.task), "headline": plan.data.task.headline},
            "finetune": plan.settings.model_dump(mode="json"),
            "finetune_seed": plan.seed,
            "data": {"hash": plan.data_hash, **plan.data.facts},
            "hardware": hardware.facts(),
            "environment": environment(),
        }
    )


def _save(member: Member, hardware: Hardware) -> None:
    plan, folder = member.plan, member.writer.folder
    if plan.settings.keep_weights:
        with replacing(folder / WEIGHTS) as temporary:
            save_model(member.model, str(temporary))
        (folder / TOKENIZER).write_bytes((plan.parent.folder / TOKENIZER).read_bytes())
    initial = coefficients(_pretrained(plan.parent))
    recorded = recorded_recipe(plan.parent)
    write_json(folder / "activations.json", describe(member.model.encoder, recorded.model, initial))
    for copy_ in plan.parent.folder.glob("activation-*.py"):
        (folder / copy_.name).write_bytes(copy_.read_bytes())
    inputs = next(tensors(member.train, 16, np.arange(len(member.train))))
    del inputs["labels"]
    with replacing(folder / "activation_inputs.safetensors") as temporary:
        save_file(sample_inputs(member.model, inputs, hardware.autocast()), str(temporary))
