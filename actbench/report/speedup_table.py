"""Speed-ups as a table: the loss at equal cost, and how much sooner the baseline's final loss is reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actbench.analysis.cohorts import Cohort
from actbench.analysis.speedups import Kind, Speedup, of_cohort
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import LOSS_DIGITS

CALLED = {"tokens": "tokens", "seconds": "seconds", "flops": "FLOPs"}
SPEEDUP_DIGITS = 3


def speedup_table(found: Sequence[Speedup], kind: Kind = "validation") -> Table:
    """A row a variant and what is spent. The notes say what the numbers are worth."""
    baseline = numbers.join(list(dict.fromkeys(one.baseline.label for one in found)))
    loss = "validation loss" if kind == "validation" else "smoothed training loss"
    heads = (
        *columns("model", "activation", "spent"),
        *columns("pairs", f"Δ loss to {baseline} at equal cost [95 %]", "reach its final loss", numeric=True),
        *columns(f"× fewer than {baseline} [95 %]", numeric=True),
    )
    notes = [
        f"By {loss}, paired by seed. Equal cost: the most that both runs of a pair spent. × fewer: what {baseline} "
        "spent in all over what it took to fall to its final loss for good; above 1 is sooner; geometric mean over "
        "seeds.",
        "FLOPs count matrix products alone; seconds are as the runs came, with all else the machine did meanwhile.",
    ]
    if any(one.at_most is not None for one in found):
        notes.append("At most: some runs never reach that loss; the ratio if they had right after their end.")
    return Table(f"Speed-ups beside {baseline}", heads, tuple(map(_row, found)), tuple(notes), "speedups")


def speedup_tables(models: Sequence[Cohort], baseline: str) -> list[Table]:
    """The speed-ups of all models that have the baseline, in one table; none where there is nothing to tell."""
    named = [(cohort, cohort.called(baseline)) for cohort in models]
    found = [one for cohort, beside in named if beside for one in of_cohort(cohort, beside)]
    return [speedup_table(found)] if found else []


def _row(one: Speedup) -> Row:
    difference = one.difference
    cells = (
        one.cohort.name,
        one.variant.label,
        CALLED[one.spent],
        f"{one.seeds} ({one.caution})" if one.caution else str(one.seeds),
        numbers.difference_and_interval(difference, LOSS_DIGITS),
        f"{one.arrived} of {one.seeds}",
        _ratio(one),
    )
    values: dict[str, Any] = {
        "model": one.cohort.name,
        "activation": one.variant.label,
        "baseline": one.baseline.label,
        "spent": one.spent,
        "pairs": one.seeds,
        "loss_difference": {
            "mean": difference.mean,
            "interval_95": list(difference.interval) if difference.interval else None,
        },
        "reached": one.arrived,
        "speedup": {
            "ratio": one.ratio,
            "interval_95": list(one.interval) if one.interval else None,
            "bootstrap_interval_95": list(one.bootstrap) if one.bootstrap else None,
            "at_most": one.at_most,
        },
        "spent_on_arrival": {str(seed): arrival for seed, arrival in one.arrivals.items()},
    }
    return Row(cells, values, (*one.variant.ids, *one.baseline.ids))


def _ratio(one: Speedup) -> str:
    if one.ratio is None:
        return f"at most {one.at_most:.{SPEEDUP_DIGITS}f}"
    text = f"{one.ratio:.{SPEEDUP_DIGITS}f}"
    if one.interval is None:
        return text
    low, high = one.interval
    return f"{text} [{low:.{SPEEDUP_DIGITS}f}, {high:.{SPEEDUP_DIGITS}f}]"
