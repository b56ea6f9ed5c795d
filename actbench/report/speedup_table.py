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
        "took to fall to its final loss for good, all unless it rises at last, over what the other took; above 1 is "
        "sooner; geometric mean over seeds.",
        "FLOPs count matrix products alone; seconds are as the runs came, with all else the machine did meanwhile.",
    ]
    return Table(f"Speed-ups beside {baseline}", heads, tuple(map(_row, found)), (*notes, *_bounds(found)), "speedups")


def speedup_tables(models: Sequence[Cohort], baseline: str) -> list[Table]:
    """The speed-ups of all models that have the baseline, in one table; none where there is nothing to tell."""
    named = [(cohort, cohort.called(baseline)) for cohort in models]
    found = [one for cohort, beside in named if beside for one in of_cohort(cohort, beside)]
    return [speedup_table(found)] if found else []


def _bounds(found: Sequence[Speedup]) -> list[str]:
    """What the words in cells mean that give less than a number, of those that stand there."""
    notes = []
    if any(one.too_early for one in found):
        notes.append(
            "No loss so early: at equal cost one run of the pair had logged none yet; the pair has no part in that "
            "difference."
        )
    if any(one.at_most is not None for one in found):
        notes.append(
            "At most: some runs never reach that loss, or the baseline was there when its own was first logged; the "
            "ratio if they had right after their end, and it just then."
        )
    if any(one.at_least is not None for one in found):
        notes.append("At least: some runs were there when their loss was first logged; the ratio had they just come.")
    if any(_is_unbounded(one) for one in found):
        notes.append(
            "Unbounded: some runs never reach that loss, or the baseline was there at first; others were there when "
            "theirs was first logged."
        )
    return notes


def _is_unbounded(one: Speedup) -> bool:
    return one.ratio is None and one.at_most is None and one.at_least is None


def _row(one: Speedup) -> Row:
    difference = one.difference
    cells = (
        one.cohort.name,
        one.variant.label,
        CALLED[one.spent],
        f"{one.seeds} ({one.caution})" if one.caution else str(one.seeds),
        _difference(one),
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
            "pairs": difference.n,
        },
        "reached": one.arrived,
        "speedup": {
            "ratio": one.ratio,
            "interval_95": list(one.interval) if one.interval else None,
            "bootstrap_interval_95": list(one.bootstrap) if one.bootstrap else None,
            "at_most": one.at_most,
            "at_least": one.at_least,
        },
        "spent_on_arrival": _spent(one, exact=True),
        "spent_on_arrival_at_most": _spent(one, exact=False),
    }
    return Row(cells, values, (*one.variant.ids, *one.baseline.ids))


def _spent(one: Speedup, exact: bool) -> dict[str, float | None]:
    """By seed, what was spent on arrival; None where the run did not arrive, or that is known the other way."""
    of = one.arrivals.items()
    return {str(seed): found.spent if found is not None and found.exact is exact else None for seed, found in of}


def _difference(one: Speedup) -> str:
    """−0.0210 [−0.0310, −0.0110], and of how many pairs where some are left out."""
    text = numbers.difference_and_interval(one.difference, LOSS_DIGITS)
    if not one.too_early:
        return text
    left_out = f"no loss so early in {one.too_early} of {numbers.plural(one.seeds, 'pair')}"
    caution = one.difference.caution if one.difference.n and one.difference.caution != one.caution else ""
    return f"{text} ({', '.join(filter(None, (left_out, caution)))})"


def _ratio(one: Speedup) -> str:
    for word, bound in (("at most", one.at_most), ("at least", one.at_least)):
        if bound is not None:
            return f"{word} {bound:.{SPEEDUP_DIGITS}f}"
    if one.ratio is None:
        return "unbounded"
    text = f"{one.ratio:.{SPEEDUP_DIGITS}f}"
    if one.interval is None:
        return text
    low, high = one.interval
    return f"{text} [{low:.{SPEEDUP_DIGITS}f}, {high:.{SPEEDUP_DIGITS}f}]"
