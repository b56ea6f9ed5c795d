"""Panels of plain lines, one look for all analyses: a mean, a band from the lowest to the highest, a legend above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from actbench.report.figure_style import hide_spines, panels_per_row

Array = NDArray[np.float64]

# Inches.
WIDE, HIGH, LEGEND_ROW, LEGEND_COLUMN = 2.6, 2.1, 0.2, 0.09
FEW = 12  # points of a line above which none is marked


@dataclass(frozen=True)
class Line:
    """A line; `band` is what its seeds span, (low, high). Lines of one label share the legend's entry."""

    label: str
    colour: str
    x: Array
    y: Array
    band: tuple[Array, Array] | None = None
    style: Literal["-", ":"] = "-"
    width: float = 1.5


@dataclass(frozen=True)
class LinePanel:
    """Lines on one pair of axes. A `counted` x axis has whole numbers; `log` names the logarithmic ones: "xy"."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log: str = ""
    counted: bool = False
    marks: Sequence[tuple[float, str]] = ()  # horizontal lines: where, and their colour
    lowest: float | None = None


def line_figure(panels: Sequence[LinePanel], per_row: int | None = None) -> Figure:
    """The panels in rows, with one legend of all lines above."""
    per_row = min(per_row or panels_per_row(len(panels)), len(panels))
    rows = math.ceil(len(panels) / per_row)
    entries = {line.label: line for panel in panels for line in panel.lines if line.label}
    width = WIDE * per_row + 0.3
    per_legend_row = max(1, int(width / (0.55 + LEGEND_COLUMN * max(map(len, entries), default=1))))
    height = HIGH * rows + LEGEND_ROW * math.ceil(len(entries) / per_legend_row) + 0.1
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(rows, per_row, squeeze=False).flat)
    for panel, one in zip(panels, axes, strict=False):
        _draw(one, panel)
    for unused in axes[len(panels) :]:
        unused.remove()
    handles = [
        Line2D([], [], color=line.colour, linewidth=1.7, linestyle=line.style, label=label)
        for label, line in entries.items()
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=per_legend_row)
    return figure


def _draw(axes: Axes, panel: LinePanel) -> None:
    for height, colour in panel.marks:
        axes.axhline(height, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
    for line in panel.lines:
        if line.band is not None:
            axes.fill_between(line.x, *line.band, color=line.colour, alpha=0.16, linewidth=0)
        marker = "o" if panel.counted and len(line.x) <= FEW else None
        axes.plot(line.x, line.y, color=line.colour, linewidth=line.width, linestyle=line.style, marker=marker)
    if "x" in panel.log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    elif panel.counted:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if "y" in panel.log:
        axes.set_yscale("log")
    elif panel.lowest is not None:
        highest = max(float(np.nanmax(line.band[1] if line.band else line.y)) for line in panel.lines)
        axes.set_ylim(panel.lowest, max(highest, panel.lowest + 1e-3) + 0.05 * (highest - panel.lowest))
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.tick_params(length=0, which="both")
    hide_spines(axes, "left")
