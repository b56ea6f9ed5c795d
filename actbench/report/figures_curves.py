"""How the loss fell: training and validation loss against tokens and against time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from actbench.analysis.cohorts import Variant, cohorts
from actbench.errors import BadInput, Problem
from actbench.report.figure_style import MUTED, colours, figure_format, save, style
from actbench.store import Run

Array = NDArray[np.float64]

MARKERS = "osD^vPX<>*"  # tell activations apart where colour is lost in print
SETTLED = 0.2  # the vertical range shows the losses after this share of the training
MARKS = 12  # about so many markers stand on a line
LEGEND_COLUMNS = 4
WINDOW = 1 / 20  # the share of its rows that the training loss is averaged over


@dataclass(frozen=True)
class _Series:
    """One run's losses of one kind, with both of the axes they are drawn against."""

    tokens: Array
    seconds: Array
    loss: Array


@dataclass(frozen=True)
class _Group:
    """The runs of one activation in one setup: one colour, one legend entry."""

    label: str
    colour: str
    marker: str
    train: list[_Series]
    validation: list[_Series]


def plot_curves(runs: Sequence[Run], path: Path) -> None:
    """Draws the runs' training and validation losses, against tokens at the left and time at the right.

    Seeds of one activation share a colour; where there are several, their mean is drawn, the validation loss
    in a band from the lowest to the highest, without the raw training losses. Raises BadInput for a suffix
    other than svg, png or pdf, without runs, and for runs that are no pre-training or have logged nothing.
    """
    figure_format(path)
    if not runs:
        raise BadInput("no runs to draw losses of")
    problems = [problem for run in runs if (problem := _problem(run))]
    if problems:
        raise BadInput(problems)
    with style():
        save(_figure(_groups(runs)), path)


def _problem(run: Run) -> Problem | None:
    if run.kind != "pretrain":
        return Problem(f"run {run.id} is not a pre-training run", hint=f"it is a {run.kind} run")
    if not any(row["kind"] == "train" for row in run.metrics()):
        return Problem(f"run {run.id} has logged no losses yet", hint=f"it is {run.status}")
    return None


def _groups(runs: Sequence[Run]) -> list[_Group]:
    setups = cohorts(runs)
    found = [
        (f"{cohort.name}: {variant.label}" if len(setups) > 1 else variant.label, variant)
        for cohort in setups
        for variant in cohort.variants
    ]
    colour_of = colours((name, variant.first.activation) for name, variant in found)
    return [
        _group(name, variant, colour_of[name], MARKERS[index % len(MARKERS)])
        for index, (name, variant) in enumerate(found)
    ]


def _group(name: str, variant: Variant, colour: str, marker: str) -> _Group:
    runs = [*variant.runs.values(), *variant.repeats]
    name = name if len(runs) == 1 else f"{name} ({len(runs)} runs)"
    rows = [run.metrics() for run in runs]
    validation = [_series(r, "validation") for r in rows if any(row["kind"] == "validation" for row in r)]
    return _Group(name, colour, marker, [_series(r, "train") for r in rows], validation)


def _series(rows: list[dict[str, Any]], kind: str) -> _Series:
    columns = ([row[key] for row in rows if row["kind"] == kind] for key in ("tokens", "seconds", "loss"))
    return _Series(*(np.asarray(column, dtype=float) for column in columns))


def _figure(groups: list[_Group]) -> Figure:
    legend_rows = -(-len(groups) // LEGEND_COLUMNS)
    figure = Figure(figsize=(9.2, 3.6 + 0.2 * legend_rows), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, groups, "tokens", *_token_unit(groups))
    _panel(right, groups, "seconds", *_time_unit(groups))
    left.set_ylabel("loss (nats a token)")
    left.set_ylim(_vertical_limits(groups))
    right.legend(handles=_kinds(any(len(group.train) == 1 for group in groups)), loc="upper right")
    handles = [Line2D([], [], color=g.colour, linewidth=1.7, marker=g.marker, label=g.label) for g in groups]
    figure.legend(handles=handles, loc="outside upper left", ncols=LEGEND_COLUMNS)
    return figure


def _panel(axes: Axes, groups: list[_Group], against: str, unit: float, name: str) -> None:
    for group in groups:
        if len(group.train) == 1:
            x = getattr(group.train[0], against) / unit
            axes.plot(x, group.train[0].loss, color=group.colour, linewidth=0.5, alpha=0.25)
    for group in groups:
        x, low, mean, high = _over_seeds([(getattr(s, against) / unit, _smooth(s.loss)) for s in group.train])
        axes.plot(x, mean, color=group.colour, linewidth=0.9, alpha=0.65)
    for group in groups:
        if group.validation:
            x, low, mean, high = _over_seeds([(getattr(s, against) / unit, s.loss) for s in group.validation])
            axes.fill_between(x, low, high, color=group.colour, alpha=0.16, linewidth=0)
            every = max(1, round(len(x) / MARKS))
            axes.plot(x, mean, color=group.colour, linewidth=1.6, marker=group.marker, markevery=every)
    axes.set_xlim(left=0)
    axes.set_xlabel(name)
    axes.tick_params(length=0)


def _over_seeds(curves: list[tuple[Array, Array]]) -> tuple[Array, Array, Array, Array]:
    """x and the lowest, mean and highest of the curves there, where all of them are."""
    start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    first = curves[0][0]
    grid = first[(first >= start) & (first <= end)]
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    return grid, values.min(0), values.mean(0), values.max(0)


def _smooth(loss: Array) -> Array:
    """A centred moving average; at the ends it averages what is there."""
    window = np.ones(2 * round(WINDOW * len(loss) / 2) + 1)
    return np.convolve(loss, window, mode="same") / np.convolve(np.ones_like(loss), window, mode="same")


def _vertical_limits(groups: list[_Group]) -> tuple[float, float]:
    """From the lowest loss to the highest after the first fall, which would flatten all differences."""
    settled = [
        series.loss[series.tokens >= SETTLED * series.tokens[-1]]
        for group in groups
        for series in (*group.train, *group.validation)
    ]
    low, high = min(float(s.min()) for s in settled), max(float(s.max()) for s in settled)
    margin = 0.05 * (high - low or 1.0)
    return low - margin, high + margin


def _token_unit(groups: list[_Group]) -> tuple[float, str]:
    most = max(float(series.tokens[-1]) for group in groups for series in group.train)
    for unit, name in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands")):
        if most >= unit:
            return unit, f"tokens ({name})"
    return 1.0, "tokens"


def _time_unit(groups: list[_Group]) -> tuple[float, str]:
    most = max(float(series.seconds[-1]) for group in groups for series in group.train)
    for unit, name in ((3600.0, "hours"), (60.0, "minutes")):
        if most >= 3 * unit:
            return unit, f"training time ({name})"
    return 1.0, "training time (seconds)"


def _kinds(raw: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=MUTED, linewidth=1.6, marker="o", label="validation"),
        Line2D([], [], color=MUTED, linewidth=0.9, label="training, smoothed"),
    ]
    return [*handles, Line2D([], [], color=MUTED, linewidth=0.5, label="training, raw")] if raw else handles
