"""One trick in one model: the same training step with and without it, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

from torch import Tensor

from actbench.bench.alternate import Comparison, alternate
from actbench.bench.peers import process
from actbench.bench.peers.orders import PretrainOrder
from actbench.bench.peers.process import Measured, Side
from actbench.bench.training_step import random_batch, training_step
from actbench.bench.tricks.catalogue import Plain, Processes, Trick
from actbench.config.schema import Recipe
from actbench.nn.build import build
from actbench.training.hardware import Hardware
from actbench.training.optimizer import make_optimizer

Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Outcome:
    """A trick in a model: the step without it (the comparison's candidate) beside the step with it.

    loss_difference: the largest relative difference between the losses of both sides' steps, None where their
    dropout masks differ.
    memory: whether peaks are those of tensors, or of a whole process.
    """

    trick: Trick
    family: str
    comparison: Comparison
    loss_difference: float | None
    memory: Literal["tensors", "process"]


def measure(trick: Trick, recipe: Recipe, hardware: Hardware, rounds: int, environment: dict[str, str]) -> Outcome:
    """Measures it in so many rounds. Raises SideFailed where a process of its own ends early."""
    recipe = recipe.model_copy(update={"model": trick.changed(recipe.model)})
    if isinstance(trick.without, Processes):
        return _in_processes(trick, trick.without, recipe, rounds, environment)
    curves: tuple[list[float], list[float]] = ([], [])
    sides = (training(recipe, hardware, plain) for plain in (Plain(), trick.without))
    with_it, without = (_noting(step, curve) for step, curve in zip(sides, curves, strict=True))
    comparison = alternate(with_it, without, rounds=rounds, device=hardware.device)
    masks_differ = trick.other_masks and recipe.model.dropout > 0
    difference = None if masks_differ else largest_difference(*curves)
    return Outcome(trick, recipe.model.family, comparison, difference, "tensors")


def training(recipe: Recipe, hardware: Hardware, plain: Plain) -> Step:
    """A new model, and the work of training it by one more step; `plain` says what is done without a trick."""
    vocabulary, batch = recipe.tokenizer.vocab_size, recipe.batch
    model = build(recipe.model, vocabulary, batch.length, recipe.seed).to(hardware.device)
    for module in model.modules():
        module.__class__ = plain.modules.get(type(module), type(module))
    optimizer = make_optimizer(model, recipe.optimizer)
    plain.optimizer(optimizer)
    if hardware.compiled:
        plain.compile(model)
    return training_step(
        model,
        optimizer,
        random_batch(recipe.model, batch.sequences, batch.length, vocabulary, hardware.device),
        replace(hardware, precision=plain.precision or hardware.precision),
        recipe.optimizer.clip_norm,
    )


def largest_difference(losses: list[float], others: list[float]) -> float:
    """Of two loss curves, relative to the first; steps that only one of them has do not count."""
    return max(abs(one - other) / abs(one) for one, other in zip(losses, others, strict=False))


def _noting(step: Step, losses: list[float]) -> Callable[[], None]:
    return lambda: losses.append(step().item())


def _in_processes(
    trick: Trick, programs: Processes, recipe: Recipe, rounds: int, environment: dict[str, str]
) -> Outcome:
    """Whatever else is settled for these processes, the number of steps is: those to warm up and one a round."""
    recipe = recipe.model_copy(update={"budget": recipe.budget.model_copy(update={"steps": process.WARM_UP + rounds})})
    with tempfile.TemporaryDirectory(prefix="actbench-tricks-") as folder:
        order = PretrainOrder(folder=Path(folder), recipe=recipe)
        with_it, without = process.alternate(
            partial(Side, programs.with_it, order, environment),
            partial(Side, programs.without, order, environment),
            rounds=rounds,
            steps=1,
        )
    assert with_it.report.loss is not None and without.report.loss is not None
    difference = largest_difference([with_it.report.loss], [without.report.loss])
    return Outcome(trick, recipe.model.family, _comparison(with_it, without), difference, "process")


def _comparison(with_it: Measured, without: Measured) -> Comparison:
    ratios = [other / own for own, other in zip(with_it.seconds, without.seconds, strict=True)]
    first, _, third = quantiles(ratios, n=4, method="inclusive")
    return Comparison(
        milliseconds=1000 * median(without.seconds),
        baseline_milliseconds=1000 * median(with_it.seconds),
        time_ratio=median(ratios),
        time_quartiles=(first, third),
        memory_bytes=without.peak_bytes,
        baseline_memory_bytes=with_it.peak_bytes,
    )
