"""The tables of all tasks of a model together, fine-tuned and zero-shot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actbench.analysis.comparisons import Comparison, Family
from actbench.analysis.over_tasks import OverTasks, over_tasks
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.analysis.task_numbers import how_counted
from actbench.analysis.tasks import Estimate
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import SCORE_DIGITS, spread_values, task_name

PROBABILITY_DIGITS = 2


def tasks_table(family: Family) -> Table:
    """A row an activation and model with several fine-tuning tasks: interquartile mean, P of improvement, mean."""
    title = "Fine-tuning over all tasks: one number a task, in percent; higher is better"
    return _table(family, family.finetuning, title, "over-tasks")


def zero_shot_tasks_table(family: Family) -> Table:
    """The same of zero-shot tasks."""
    title = "Zero-shot over all tasks: headline scores in percent; higher is better"
    return _table(family, family.zero_shot, title, "zero-shot-over-tasks")


def _table(family: Family, comparisons: Sequence[Comparison], title: str, file: str) -> Table:
    name = family.baseline
    heads = (
        *columns("model", "activation"),
        *columns("tasks", "seeds", "mean", "IQM [95 %]", f"Δ IQM to {name} [95 %]", numeric=True),
        *columns(f"P(better than {name}) [95 %]", f"Δ mean over tasks to {name} [95 %]", numeric=True),
    )
    found = over_tasks(comparisons)
    counts = counted(comparisons, found) if comparisons is family.finetuning else []
    said = (*(f"{one} Mean ± sd over pre-training seeds." for one in counts), *_notes(comparisons, found))
    return Table(title, heads, tuple(_row(one) for one in found), said, file)


def _row(one: OverTasks) -> Row:
    difference, mean = one.difference, one.mean_difference
    cells = (
        one.model,
        one.label,
        str(len(one.tasks)),
        str(len(one.seeds)),
        numbers.mean_and_sd(one.mean, SCORE_DIGITS),
        numbers.with_interval(one.middle, SCORE_DIGITS),
        numbers.NOTHING
        if difference is None
        else numbers.signed_with_interval(difference.value, difference.interval, SCORE_DIGITS),
        numbers.with_interval(one.improvement, PROBABILITY_DIGITS),
        numbers.NOTHING if mean is None else numbers.difference_and_interval(mean, SCORE_DIGITS),
    )
    values = {
        "model": one.model,
        "activation": one.label,
        "tasks": list(one.tasks),
        "pretraining_seeds": list(one.seeds),
        "mean": spread_values(one.mean),
        "interquartile_mean": _values(one.middle),
        "interquartile_difference": _values(difference),
        "probability_of_improvement": _values(one.improvement),
        "mean_difference": None
        if mean is None
        else {"value": mean.mean, "interval_95": list(mean.interval) if mean.interval else None},
    }
    return Row(cells, values, one.runs)


def _values(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {"value": estimate.value, "interval_95": list(estimate.interval) if estimate.interval else None}


def counted(comparisons: Sequence[Comparison], found: Sequence[OverTasks]) -> list[str]:
    """For every model: which tasks the numbers are over, and what each counts with."""
    said = []
    for model in dict.fromkeys(one.model for one in found):
        own = {str(c.cohort.task): c for c in comparisons if c.cohort.name == model}
        names = ", ".join(map(task_name, own.values()))
        sets = {task: list(c.variant.first.summary["scores"]) for task, c in own.items()}
        said.append(f"{model}: over {names}. {how_counted(sets)}")
    return said


def _notes(comparisons: Sequence[Comparison], found: list[OverTasks]) -> tuple[str, ...]:
    notes = [
        "IQM: the mean of the middle half of all scores. P: how often a run beats one of the baseline of "
        "another seed, on a task drawn at random. Only the last column's interval, paired t, can be had of few seeds.",
    ]
    if any(len(one.seeds) < ENOUGH_PAIRS for one in found):
        notes.append(f"Bootstrap intervals over fewer than {ENOUGH_PAIRS} seeds hold too little, and are not given.")
    return (*notes, *left_out(comparisons, found))


def left_out(comparisons: Sequence[Comparison], found: Sequence[OverTasks]) -> list[str]:
    """Which variants of the models have no seed with all tasks."""
    models = {one.model for one in found}
    aggregated = {(one.model, one.label) for one in found}
    missing = {(c.cohort.name, c.variant.label) for c in comparisons if c.cohort.name in models} - aggregated
    names = ", ".join(f"{model} {label}" for model, label in sorted(missing))
    return [f"Left out, without a seed that was run on all tasks: {names}."] if missing else []
