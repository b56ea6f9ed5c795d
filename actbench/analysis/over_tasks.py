"""Variants over all tasks of their model, fine-tuned or zero-shot, beside the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actbench.analysis.cohorts import SeedKey
from actbench.analysis.comparisons import Comparison, task_numbers
from actbench.analysis.paired import Difference, Spread, mean_by_pretraining, paired_difference, spread
from actbench.analysis.tasks import (
    Array,
    Estimate,
    interquartile_difference,
    interquartile_mean,
    probability_of_improvement,
)

Numbers = Mapping[Any, float]  # in percent, by seed: a SeedKey, or the pre-training seed alone
Unit = Callable[[Mapping[SeedKey, float]], Numbers]
ByTask = dict[str, Numbers]  # one number a task


@dataclass(frozen=True)
class OverTasks:
    """One variant over a model's tasks, at the seeds that it (and the baseline) has on every task: see `over_tasks`.

    A task counts with one number (see `task_number`); `mean` is their plain mean over tasks, over seeds. `gains` are
    the numbers less the baseline's of the same seed, (S seeds, T tasks) in points. They and the comparisons are None of
    the baseline, and without one. `mean_difference` is that of the mean over tasks, paired by seed.
    """

    model: str
    label: str
    activation: str
    tasks: tuple[str, ...]
    seeds: tuple[Any, ...]
    mean: Spread
    middle: Estimate  # the interquartile mean
    gains: Array | None
    difference: Estimate | None
    improvement: Estimate | None
    mean_difference: Difference | None
    runs: tuple[str, ...]


def over_tasks(comparisons: Sequence[Comparison], unit: Unit = mean_by_pretraining) -> list[OverTasks]:
    """Every variant of every model with two tasks or more. One without a seed that has all tasks is left out.

    `unit` makes of the runs' numbers the independent ones: by default means over fine-tunings of a pre-training seed.
    """
    found = []
    for model in dict.fromkeys(comparison.cohort.name for comparison in comparisons):
        own = [comparison for comparison in comparisons if comparison.cohort.name == model]
        tasks = tuple(dict.fromkeys(str(comparison.cohort.task) for comparison in own))
        if len(tasks) > 1:
            found += _of_model(tasks, own, unit)
    return found


def _of_model(tasks: tuple[str, ...], comparisons: Sequence[Comparison], unit: Unit) -> list[OverTasks]:
    by_label: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_label.setdefault(comparison.variant.label, []).append(comparison)
    baseline = next((_by_task(group, unit) for group in by_label.values() if group[0].is_baseline), {})
    rows = [_aggregate(tasks, group, {} if group[0].is_baseline else baseline, unit) for group in by_label.values()]
    return [row for row in rows if row is not None]


def _aggregate(tasks: tuple[str, ...], group: Sequence[Comparison], baseline: ByTask, unit: Unit) -> OverTasks | None:
    own, compared = _by_task(group, unit), len(baseline) == len(tasks)
    seeds = _shared_seeds([*own.values(), *baseline.values()] if compared else list(own.values()))
    if len(own) < len(tasks) or not seeds:
        return None
    mine = _matrix(own, tasks, seeds)
    theirs = _matrix(baseline, tasks, seeds) if compared else None
    return OverTasks(
        group[0].cohort.name,
        group[0].variant.label,
        group[0].variant.first.activation,
        tasks,
        seeds,
        spread(_means(seeds, mine).values()),
        interquartile_mean(mine),
        None if theirs is None else mine - theirs,
        None if theirs is None else interquartile_difference(mine, theirs),
        None if theirs is None else probability_of_improvement(mine, theirs),
        None if theirs is None else paired_difference(_means(seeds, mine), _means(seeds, theirs)),
        tuple(run for comparison in group for run in comparison.variant.ids),
    )


def _by_task(group: Sequence[Comparison], unit: Unit) -> ByTask:
    return {str(c.cohort.task): unit(task_numbers(c.variant)) for c in group}


def _shared_seeds(sides: Sequence[Numbers]) -> tuple[Any, ...]:
    return tuple(sorted(set.intersection(*(set(side) for side in sides))))


def _matrix(by_task: ByTask, tasks: Sequence[str], seeds: Sequence[Any]) -> Array:
    return np.array([[by_task[task][seed] for task in tasks] for seed in seeds])


def _means(seeds: Sequence[Any], values: Array) -> dict[Any, float]:
    return {seed: float(mean) for seed, mean in zip(seeds, values.mean(1), strict=True)}
