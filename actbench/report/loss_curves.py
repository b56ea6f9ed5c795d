"""The losses that the page's charts draw, in few numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actbench.analysis.cohorts import Cohort
from actbench.report.figures_curves import SETTLED
from actbench.report.numbers import plural
from actbench.report.tables import LOSS_DIGITS
from actbench.store import Run

Array = NDArray[np.float64]

MOST_POINTS = 300  # of one line: more than a chart has room for
MOST_NUMBERS = 120_000  # of one chart
FEWEST_POINTS = 50


@dataclass(frozen=True)
class LossChart:
    """One model's chart: JSON data, and what was done to the numbers."""

    model: str
    data: dict[str, Any]
    note: str


@dataclass
class _Steps:
    """The x axes of all lines, each kept once: runs of one recipe log at the same steps."""

    known: dict[str, int] = field(default_factory=dict)

    def place(self, steps: Sequence[float]) -> int:
        return self.known.setdefault(json.dumps([round(step, 1) for step in steps]), len(self.known))

    def all(self) -> list[list[float]]:
        return [json.loads(text) for text in self.known]


def loss_chart(cohort: Cohort, colour_of: dict[str, int]) -> LossChart:
    """The pre-training losses of a cohort's runs, by activation and seed. `colour_of` gives each label's number."""
    count = sum(len(variant.runs) for variant in cohort.variants)
    points = max(FEWEST_POINTS, min(MOST_POINTS, MOST_NUMBERS // (2 * count)))
    steps = _Steps()
    widest = 1
    variants = []
    for variant in cohort.variants:
        runs = []
        for run in variant.runs.values():
            rows = run.metrics()
            train, width = averaged(*_column(rows, "train"), points)
            widest = max(widest, width)
            validation = picked(*_column(rows, "validation"), points)
            runs.append(
                {"id": run.id, "seed": run.seed, "train": _line(train, steps), "validation": _line(validation, steps)}
            )
        variants.append({"label": variant.label, "colour": colour_of[variant.label], "runs": runs})
    first = cohort.variants[0].first
    data = {
        "tokens_per_step": _tokens_per_step(first),
        "settled": SETTLED,
        "steps": steps.all(),
        "variants": variants,
    }
    averages = f"a point is the mean of up to {plural(widest, 'logged step')}" if widest > 1 else "every logged step"
    note = (
        f"{plural(count, 'run')}. Training loss: {averages}. Validation loss: at most {points} points a run, unchanged."
    )
    return LossChart(cohort.name, data, note)


def averaged(steps: Array, loss: Array, points: int) -> tuple[tuple[Array, Array], int]:
    """At most `points` means over neighbours, at their mean step; and over how many at most."""
    width = -(-len(loss) // points) or 1
    starts = np.arange(0, len(loss), width)
    sizes = np.diff(np.append(starts, len(loss)))
    means = [np.add.reduceat(values, starts) / sizes if len(values) else values for values in (steps, loss)]
    return (means[0], means[1]), width


def picked(steps: Array, loss: Array, points: int) -> tuple[Array, Array]:
    """At most `points` of the values, evenly spread, with the first and the last."""
    if len(loss) <= points:
        return steps, loss
    chosen = np.linspace(0, len(loss) - 1, points).round().astype(int)
    return steps[chosen], loss[chosen]


def _column(rows: list[dict[str, Any]], kind: str) -> tuple[Array, Array]:
    own = [row for row in rows if row["kind"] == kind]
    return tuple(np.array([row[key] for row in own], dtype=float) for key in ("step", "loss"))  # type: ignore[return-value]


def _line(line: tuple[Array, Array], steps: _Steps) -> list[Any]:
    """[number of the x axis, losses]; a loss that is no number is passed over."""
    x, loss = line
    return [steps.place(x.tolist()), [round(v, LOSS_DIGITS) if np.isfinite(v) else None for v in loss.tolist()]]


def _tokens_per_step(run: Run) -> float:
    return float(run.summary["tokens"]) / max(1, run.summary["steps"])
