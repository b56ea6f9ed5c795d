"""The table of one pre-trained model each: scores and differences over fine-tuning seeds alone."""

from __future__ import annotations

from actbench.analysis.comparisons import Family
from actbench.analysis.within import Within, within
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import SCORE_DIGITS, spread_values, task_name

ABOUT = (
    "Of these pre-trained models alone: intervals, paired t over fine-tuning seeds, say how far other fine-tunings of "
    "the same weights may lie. Another pre-training may turn the difference, so no test on this page counts it."
)


def within_table(family: Family) -> Table:
    """A row an activation, model and task of one pre-training each, then of all tasks: score over fine-tuning seeds."""
    title = "Fine-tuning of one pre-trained model each: score in percent, mean ± sd over fine-tuning seeds"
    heads = (
        *columns("model", "task", "activation"),
        *columns("seeds", "score", f"Δ to {family.baseline} [95 %]", "pairs", numeric=True),
    )
    rows = tuple(_row(one) for one in within(family))
    return Table(title, heads, rows, (ABOUT,), "within-one-pretraining")


def _row(one: Within) -> Row:
    cohort, label, difference = one.first.cohort, one.first.variant.label, one.difference
    several = len(one.tasks) > 1
    cells = (
        cohort.name,
        f"mean of {len(one.tasks)} tasks" if several else task_name(one.first),
        label,
        str(one.value.n),
        numbers.mean_and_sd(one.value, SCORE_DIGITS),
        numbers.NOTHING if difference is None else numbers.difference_and_interval(difference, SCORE_DIGITS),
        numbers.NOTHING if difference is None else str(difference.n),
    )
    values = {
        "model": cohort.name,
        "tasks": list(one.tasks),
        "activation": label,
        "score_percent": spread_values(one.value),
        "difference": None
        if difference is None
        else {
            "mean": difference.mean,
            "sd": difference.sd,
            "interval_95": list(difference.interval) if difference.interval else None,
            "pairs": difference.n,
            "dropped": difference.dropped,
        },
    }
    return Row(cells, values, one.runs)
