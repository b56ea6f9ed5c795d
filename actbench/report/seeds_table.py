"""How many seeds a difference needs, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from actbench.analysis.comparisons import Comparison
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.analysis.power import Visible, seeds_needed, smallest_visible
from actbench.report import numbers
from actbench.report.difference_tables import name_values, names
from actbench.report.numbers import FEWEST_TO_PLAN
from actbench.report.table import Row, Table, columns
from actbench.report.tables import LOSS_DIGITS, SCORE_DIGITS


def seeds_table(comparisons: Sequence[Comparison], difference: float | None, power: float) -> Table:
    """Of comparisons of one kind: the smallest difference that their seeds show, and the seeds that one needs.

    `difference` is the one to see; None asks for each comparison's own. Comparisons without a spread are left out; one
    of fewer than FEWEST_TO_PLAN pairs has no number of seeds.
    """
    on_task = any(comparison.cohort.task is not None for comparison in comparisons)
    on_text = any(comparison.cohort.text is not None for comparison in comparisons)
    heads = (
        *columns("model", *(["task"] if on_task else []), *(["text"] if on_text else []), "activation"),
        *columns("pairs", "sd of differences", "visible with these", numeric=True),
        *columns("seeds for the measured one" if difference is None else f"seeds for {difference:g}", numeric=True),
    )
    notes = [
        f"Visible: the smallest true difference that so many seeds find in {100 * power:g} % of studies. It and the "
        "number of seeds are for the paired t-test at 5 %, before correction for many comparisons. In brackets: what "
        f"the measured spread allows (95 %). Fewer than {ENOUGH_PAIRS} seeds show nothing, and are never enough; the "
        f"spread of fewer than {FEWEST_TO_PLAN} is no ground to count seeds by."
    ]
    if difference is None:
        notes.append("The measured difference is itself uncertain: rather name one that would matter.")
    rows = [row for comparison in comparisons if (row := _row(comparison, difference, power)) is not None]
    unit = "points" if on_task else "nats"
    return Table(f"How many seeds it takes to see a difference, in {unit}", heads, tuple(rows), tuple(notes))


def _row(comparison: Comparison, wanted: float | None, power: float) -> Row | None:
    measured = comparison.difference
    if measured is None or measured.sd is None or measured.mean is None:
        return None
    digits = LOSS_DIGITS if comparison.cohort.task is None else SCORE_DIGITS
    visible = smallest_visible(measured.sd, measured.n, measured.n, power) if measured.n >= ENOUGH_PAIRS else None
    target = abs(measured.mean) if wanted is None else wanted
    needed = seeds_needed(target, measured.sd, measured.n, power) if measured.n >= FEWEST_TO_PLAN else None
    cells = (
        *names(comparison),
        str(measured.n),
        numbers.plain(measured.sd, numbers.digits_for([measured.sd], digits)),
        numbers.NOTHING if visible is None else _visible(visible, digits),
        numbers.needed_seeds(needed),
    )
    values = {
        **name_values(comparison),
        "pairs": measured.n,
        "sd": measured.sd,
        "power": power,
        "visible": None if visible is None else asdict(visible),
        "seeds_needed": None if needed is None else {"difference": target, **asdict(needed)},
    }
    return Row(cells, values, comparison.variant.ids)


def _visible(visible: Visible, digits: int) -> str:
    """0.0123 [0.0101 to 0.0301]."""
    ends = (visible.difference, visible.low, visible.high)
    value, low, high = (numbers.plain(end, numbers.digits_for(ends, digits)) for end in ends)
    return f"{value} [{low} to {high}]"
