"""Panels of activation curves, each of one size, with the inputs' histogram beneath where there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from actbench.analysis.curves import SlotCurve
from actbench.report.figure_style import MUTED, hide_spines, panels_per_row

# Inches. Fixed, so that a panel looks the same in a figure of two layers and of twenty-four.
PANEL_WIDTH, CURVE_HEIGHT, HISTOGRAM_HEIGHT = 2.05, 1.75, 0.42
GAP_X, GAP_Y, LEFT, RIGHT, BOTTOM, TITLE = 0.38, 0.62, 0.5, 0.15, 0.5, 0.36
LEGEND_ROW, KEY, LETTER = 0.19, 0.55, 0.07  # the height of the legend's rows; the width of its keys and of a letter
ALONE = 1.8  # times as large where a figure has one panel
DOTTED: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (1, 1.6))}


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn."""

    curve: SlotCurve
    colour: str


@dataclass(frozen=True)
class Panel:
    """Curves on one pair of axes; `limits` are the vertical ones."""

    title: str
    lines: list[Line]
    limits: tuple[float, float]


def panel_figure(
    panels: Sequence[Panel],
    handles: Sequence[Line2D],
    *,
    columns: int | None = None,
    histograms: bool = True,
    starts: bool = True,
) -> Figure:
    """The panels in rows, the legend's `handles` above them.

    `columns` is how many stand in a row, else as it looks best. Without `starts`, where a curve began is drawn only
    where all of a panel began alike.
    """
    per_row = columns or panels_per_row(len(panels))
    rows = math.ceil(len(panels) / per_row)
    scale = ALONE if len(panels) == 1 else 1.0
    histogram = HISTOGRAM_HEIGHT * scale if histograms and _sampled(panels) else 0.0
    curve_height, panel_width = CURVE_HEIGHT * scale, PANEL_WIDTH * scale
    panel_height = curve_height + histogram
    width = LEFT + per_row * panel_width + (per_row - 1) * GAP_X + RIGHT
    legend_columns = _legend_columns(handles, width - LEFT)
    top = TITLE + LEGEND_ROW * math.ceil(len(handles) / legend_columns)
    height = top + rows * panel_height + (rows - 1) * GAP_Y + BOTTOM
    figure = Figure(figsize=(width, height))
    for index, panel in enumerate(panels):
        row, column = divmod(index, per_row)
        x = LEFT + column * (panel_width + GAP_X)
        y = height - top - (row + 1) * panel_height - row * GAP_Y
        upper = figure.add_axes((x / width, (y + histogram) / height, panel_width / width, curve_height / height))
        _draw_curves(upper, panel, starts)
        lowest = upper
        if histogram:
            lowest = figure.add_axes((x / width, y / height, panel_width / width, histogram / height))
            upper.tick_params(labelbottom=False, length=0)
            hide_spines(upper, "bottom")
            _draw_histograms(lowest, panel.lines)
        lowest.set_xlabel("input" if index + per_row >= len(panels) else "")
    if handles:
        corner = (LEFT / width, 1 - 0.06 / height)
        figure.legend(
            handles=list(handles), loc="upper left", bbox_to_anchor=corner, ncols=legend_columns, borderaxespad=0
        )
    return figure


def began_alike(lines: Sequence[Line]) -> bool:
    """Whether several lines all began as one curve that learns."""
    first = lines[0].curve
    return len(lines) > 1 and first.learnable and all(np.array_equal(x.curve.initial, first.initial) for x in lines)


def start_handle(label: str) -> Line2D:
    """The legend's entry of the dotted curves."""
    return Line2D([], [], color=MUTED, label=label, **DOTTED)


def line_handle(label: str, colour: str) -> Line2D:
    """The legend's entry of a solid curve."""
    return Line2D([], [], color=colour, linewidth=1.8, label=label)


def _legend_columns(handles: Sequence[Line2D], width: float) -> int:
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return max(1, int(width / (KEY + LETTER * longest)))


def _sampled(panels: Sequence[Panel]) -> bool:
    return any(line.curve.inputs is not None for panel in panels for line in panel.lines)


def _draw_curves(axes: Axes, panel: Panel, starts: bool) -> None:
    axes.axhline(0, color="#bdbdbd", linewidth=0.7)
    axes.axvline(0, color="#bdbdbd", linewidth=0.7)
    lines, one_start = panel.lines, began_alike(panel.lines)
    for line in lines[:1] if one_start else lines:
        if one_start or (starts and line.curve.learnable):
            look = {"color": MUTED, "zorder": 3} if one_start else {"color": line.colour}  # many lines would hide it
            axes.plot(line.curve.x, line.curve.initial, **look, **DOTTED)
    for line in lines:
        axes.plot(line.curve.x, line.curve.final, color=line.colour, linewidth=1.6 if len(lines) == 1 else 1.2)
    _frame_x(axes, lines)
    axes.set_ylim(panel.limits)
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.tick_params(length=0)
    hide_spines(axes, "left")
    axes.set_title(panel.title)


def _draw_histograms(axes: Axes, lines: Sequence[Line]) -> None:
    for line in lines:
        if line.curve.inputs is not None:
            fractions, edges = line.curve.inputs.fractions, line.curve.inputs.edges
            if len(lines) == 1:  # overlaid fills would mix to a colour of none of the runs
                axes.stairs(fractions, edges, fill=True, color=line.colour, alpha=0.35, linewidth=0)
            axes.stairs(fractions, edges, color=line.colour, linewidth=0.8)
    if all(line.curve.inputs is None for line in lines):
        axes.text(0.5, 0.35, "inputs not sampled", transform=axes.transAxes, ha="center", color=MUTED, fontsize=7.5)
    _frame_x(axes, lines)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    hide_spines(axes, "left")


def _frame_x(axes: Axes, lines: Sequence[Line]) -> None:
    x = lines[0].curve.x
    low, high = float(x[0]), float(2 * x[-1] - x[-2])  # the grid leaves out its upper end
    axes.set_xticks(np.linspace(low, high, 5))
    axes.set_xlim(low, high)
