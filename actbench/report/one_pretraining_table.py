"""The table of one pre-trained model each: scores, and their differences, over fine-tuning seeds alone."""

from __future__ import annotations

from typing import Any

from actbench.analysis.comparisons import Comparison, Family
from actbench.analysis.one_pretraining import one_pretraining
from actbench.analysis.over_tasks import OverTasks
from actbench.analysis.paired import Difference, Spread
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import SCORE_DIGITS, task_name
from actbench.report.task_tables import counted, left_out

ABOUT = (
    "Of these pre-trained models alone: another pre-training may reverse a difference, so none of them is tested. "
    "Intervals are of the mean over fine-tuning seeds, paired t, and not corrected: of twenty, one misses by chance."
)


def one_pretraining_table(family: Family) -> Table:
    """A row a comparison on a task, then an activation's mean over tasks, where models have one pre-training seed."""
    title = "One pre-trained model each: score in percent, mean ± sd over fine-tuning seeds; higher is better"
    heads = (
        *columns("model", "task", "activation", "against"),
        *columns("fine-tuning seeds", "score", "Δ [95 %]", numeric=True),
        *columns("pairs"),
    )
    compared, together = one_pretraining(family)
    baselines = {one.model: one.label for one in together if one.mean_difference is None}
    rows = [_row(one, family.baseline) for one in compared]
    rows += [_mean_row(one, baselines.get(one.model, "")) for one in together]
    tuned = [one for one in compared if not one.cohort.is_transfer]
    notes = (ABOUT, *counted(tuned, together), *left_out(tuned, together))
    return Table(title, heads, tuple(rows), notes, "one-pretraining")


def _row(one: Comparison, baseline: str) -> Row:
    partner = None if one.difference is None else one.cohort.called(one.against or baseline)
    against = "" if partner is None else partner.label
    place = (one.cohort.name, task_name(one), one.variant.label, against or numbers.NOTHING)
    values = {"model": one.cohort.name, "task": one.cohort.task, "activation": one.variant.label}
    return _made(place, values, against, one.value, one.difference, one.runs)


def _mean_row(one: OverTasks, baseline: str) -> Row:
    against = "" if one.mean_difference is None else baseline
    place = (one.model, f"mean of {len(one.tasks)}", one.label, against or numbers.NOTHING)
    values = {"model": one.model, "tasks": list(one.tasks), "activation": one.label}
    return _made(place, values, against, one.mean, one.mean_difference, one.runs)


def _made(
    place: tuple[str, ...],
    values: dict[str, Any],
    against: str,
    score: Spread,
    difference: Difference | None,
    runs: tuple[str, ...],
) -> Row:
    found = {
        **values,
        "against": against or None,
        "score_percent": {"mean": score.mean, "sd": score.sd, "finetuning_seeds": score.n},
        "difference": None if difference is None else _values(difference),
    }
    cells = (*place, str(score.n), numbers.mean_and_sd(score, SCORE_DIGITS), *_cells(difference))
    return Row(cells, found, runs)


def _cells(difference: Difference | None) -> tuple[str, str]:
    if difference is None:
        return numbers.NOTHING, numbers.NOTHING
    pairs = numbers.pairs(difference, "" if difference.interval else difference.caution)
    return numbers.difference_and_interval(difference, SCORE_DIGITS), pairs


def _values(difference: Difference) -> dict[str, Any]:
    return {
        "mean": difference.mean,
        "sd": difference.sd,
        "interval_95": list(difference.interval) if difference.interval else None,
        "pairs": difference.n,
        "dropped": difference.dropped,
    }
