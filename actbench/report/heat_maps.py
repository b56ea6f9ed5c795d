"""Heat maps: squares as large as their number needs, maps of one size side by side, one scale for all."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actbench.report.figure_style import DISTANCE, panels_per_row
from actbench.report.palette import luminance

# Inches.
CELL, TALL_CELL, SMALL_CELL = 0.36, 0.26, 0.17
LETTER = 0.065  # of an axis' labels
NOTE_LETTER, LINE = 0.06, 0.15
GAP, TITLE, EDGE, BAR, BAR_WIDTH = 0.3, 0.3, 0.12, 0.5, 1.3
NUMBERED = 16  # columns: with more, cells are small and hold no numbers
DARK = 0.35  # a cell's luminance below which its number is white


@dataclass(frozen=True)
class HeatMap:
    """Values (rows, columns) and what they are called. NaN is left white."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.float64]


def heat_figure(maps: Sequence[HeatMap], measure: str, most: float, notes: Sequence[str] = ()) -> Figure:
    """The maps, at most four a row; `measure` names the values, `most` is the darkest, which larger ones share."""
    per_row = panels_per_row(len(maps))
    rows = math.ceil(len(maps) / per_row)
    wide, high = _cells(maps)
    map_width = wide * max(len(one.columns) for one in maps)
    map_height = high * max(len(one.rows) for one in maps)
    left = EDGE + LETTER * max(len(name) for one in maps for name in one.rows) + 0.08
    below = EDGE + LETTER * max(len(name) for one in maps for name in one.columns)
    titled = TITLE if any(one.title for one in maps) else 0.0
    alike = len({(tuple(one.rows), tuple(one.columns)) for one in maps}) == 1
    step_x, step_y = map_width + (GAP if alike else left), map_height + titled + (GAP / 2 if alike else below)
    width = left + EDGE + max(per_row * step_x - (step_x - map_width), BAR_WIDTH + LETTER * len(measure))
    lines = [line for note in notes for line in textwrap.wrap(note, int(width / NOTE_LETTER))]
    height = BAR + rows * step_y - (step_y - map_height - titled) + below + LINE * len(lines)
    figure = Figure(figsize=(width, height))
    scale = Normalize(0, most or 1.0)
    for index, one in enumerate(maps):
        row, column = divmod(index, per_row)
        x, top = left + column * step_x, height - BAR - titled - row * step_y
        size = (wide * len(one.columns), high * len(one.rows))
        axes = figure.add_axes((x / width, (top - size[1]) / height, size[0] / width, size[1] / height))
        lowest = index + per_row >= len(maps)
        _draw(axes, one, scale, row_names=not alike or column == 0, column_names=not alike or lowest)
    over = any(np.nanmax(one.values, initial=0.0) > most for one in maps)
    _draw_bar(figure, scale, measure, left, over)
    for index, line in enumerate(reversed(lines)):
        figure.text(EDGE / width, (0.05 + index * LINE) / height, line, fontsize=7, color="#333333")
    return figure


def _cells(maps: Sequence[HeatMap]) -> tuple[float, float]:
    """A cell's width and height."""
    numbered = max(len(one.columns) for one in maps) <= NUMBERED
    return (CELL, TALL_CELL) if numbered else (SMALL_CELL, SMALL_CELL)


def _draw(axes: Axes, one: HeatMap, scale: Normalize, *, row_names: bool, column_names: bool) -> None:
    axes.imshow(np.ma.masked_invalid(one.values), cmap=DISTANCE, norm=scale, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(one.columns)), one.columns if column_names else [], rotation=90, fontsize=7.5)
    axes.set_yticks(range(len(one.rows)), one.rows if row_names else [], fontsize=7.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if one.title:
        axes.set_title(one.title, fontsize=8.5)
    if len(one.columns) > NUMBERED:
        return
    for (row, column), value in np.ndenumerate(one.values):
        if np.isfinite(value) and value != 0:
            dark = luminance(to_rgb(DISTANCE(scale(min(value, scale.vmax or value))))) < DARK
            colour = "white" if dark else "#333333"
            axes.text(column, row, _number(value, scale), ha="center", va="center", fontsize=6.5, color=colour)


def _number(value: float, scale: Normalize) -> str:
    """Three digits after the point where all values are small."""
    digits = 3 if (scale.vmax or 0) < 0.1 and value < 1 else 2
    return f"{value:.{digits}f}"


def _draw_bar(figure: Figure, scale: Normalize, measure: str, left: float, over: bool) -> None:
    width, height = figure.get_size_inches()
    bar = figure.add_axes((left / width, 1 - 0.2 / height, (BAR_WIDTH - 0.2) / width, 0.1 / height))
    figure.colorbar(
        ScalarMappable(scale, DISTANCE), cax=bar, orientation="horizontal", ticks=[0, scale.vmax or 0],
        extend="max" if over else "neither",
    )  # fmt: skip
    bar.set_xticklabels(["0", _number(scale.vmax or 0, scale)], fontsize=7.5)
    bar.tick_params(length=0, pad=2)
    bar.spines["outline"].set_visible(False)
    figure.text((left + BAR_WIDTH) / width, 1 - 0.2 / height, measure, fontsize=8, color="#333333")
