"""A forest of differences: for every comparison a dot and its interval beside zero, on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from matplotlib.ticker import MaxNLocator

from actbench.analysis.comparisons import Comparison, Family
from actbench.report import numbers
from actbench.report.difference_tables import names
from actbench.report.tables import LOSS_DIGITS, SCORE_DIGITS

WIDEST = 3.0  # an interval's end may make the axis so many times as long as the usual end does
MARGIN = 1.06


@dataclass(frozen=True)
class ForestRow:
    """One difference. `sure` says whether it may be called one; without an interval, only the dot is drawn."""

    place: str  # model, and task if there is one
    label: str
    mean: float
    interval: tuple[float, float] | None
    sure: bool
    seeds: int
    text: str


@dataclass(frozen=True)
class Forest:
    """All differences of one kind; the axis goes from -reach to reach. `better` is -1 where lower is better."""

    title: str
    unit: str
    better: int
    reach: float
    ticks: tuple[float, ...]
    rows: tuple[ForestRow, ...]
    name: str

    def position(self, value: float) -> float:
        """Where a value stands on the axis, in percent of its length; what is off it stands at its end."""
        return round(50 + 50 * max(-1.0, min(1.0, value / self.reach)), 2)

    def is_off(self, value: float) -> bool:
        """Whether a value lies beyond the axis."""
        return abs(value) > self.reach


def forests(family: Family) -> list[Forest]:
    """One of pre-training, texts, fine-tuning, transfer and zero-shot tasks each, where there are differences."""
    of_loss = f"Pre-training: difference of validation loss to {family.baseline}"
    of_score = f"difference of score to {family.baseline}"
    found = [
        _forest(family.pretraining, of_loss, "nats", -1, LOSS_DIGITS, "pretraining-differences"),
        _forest(
            family.evaluation,
            f"Evaluation: difference of loss to {family.baseline}",
            "nats",
            -1,
            LOSS_DIGITS,
            "evaluation-differences",
        ),
        _forest(family.finetuning, f"Fine-tuning: {of_score}", "points", 1, SCORE_DIGITS, "finetuning-differences"),
        _forest(family.transfer, f"Transfer: {of_score}", "points", 1, SCORE_DIGITS, "transfer-differences"),
        _forest(family.zero_shot, f"Zero-shot: {of_score}", "points", 1, SCORE_DIGITS, "zero-shot-differences"),
    ]
    return [forest for forest in found if forest is not None]


def _forest(
    comparisons: Sequence[Comparison], title: str, unit: str, better: int, digits: int, name: str
) -> Forest | None:
    rows = [row for comparison in comparisons if (row := _row(comparison, digits)) is not None]
    if not rows:
        return None
    reach = _reach(rows)
    inner = [float(tick) for tick in MaxNLocator(5, symmetric=True).tick_values(-reach, reach) if abs(tick) <= reach]
    return Forest(title, unit, better, reach, tuple(inner), tuple(rows), name)


def _row(comparison: Comparison, digits: int) -> ForestRow | None:
    difference = comparison.difference
    if difference is None or difference.mean is None:
        return None
    *place, label = names(comparison)
    text = numbers.difference_and_interval(difference, digits)
    return ForestRow(
        ", ".join(place), label, difference.mean, difference.interval, difference.is_shown, difference.n, text
    )


def _reach(rows: Sequence[ForestRow]) -> float:
    """Half the axis: all dots, and all intervals but those that would make it much longer than the others do."""
    ends = [max(map(abs, row.interval)) if row.interval else abs(row.mean) for row in rows]
    dots = max(abs(row.mean) for row in rows)
    return MARGIN * max(dots, min(max(ends), WIDEST * median(ends))) or 1.0
