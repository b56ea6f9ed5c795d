"""The differences as a forest plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from actbench.report.figure_style import MUTED, figure_format, hide_spines, save, style
from actbench.report.forest import Forest

ROW, HEAD = 0.26, 0.95  # inches


def plot_forest(forest: Forest, colour_of: Mapping[str, str], path: Path) -> None:
    """Draws every difference with its interval: full dots where it may be called one, hollow ones elsewhere.

    Intervals that run off the axis end in an arrow. Raises BadInput for a suffix other than svg, png or pdf.
    """
    figure_format(path)
    with style():
        figure = Figure(figsize=(6.8, HEAD + ROW * len(forest.rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0.0, color=MUTED, linewidth=0.9)
        for place, row in enumerate(forest.rows):
            colour = colour_of[row.label]
            for end in row.interval or ():
                off = forest.is_off(end)
                end = max(-forest.reach, min(forest.reach, end))
                axes.plot([row.mean, end], [place, place], color=colour, linewidth=1.6)
                if off:
                    axes.plot(end, place, marker="<" if end < 0 else ">", color=colour, clip_on=False)
            face = colour if row.sure else "white"
            axes.plot(row.mean, place, marker="o", markersize=5.5, color=colour, markerfacecolor=face, zorder=3)
        axes.set_yticks(range(len(forest.rows)), [f"{row.place}: {row.label}" for row in forest.rows])
        axes.set_ylim(len(forest.rows) - 0.4, -0.6)
        axes.set_xlim(-forest.reach, forest.reach)
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        hide_spines(axes, "left")
        side = "left" if forest.better < 0 else "right"
        axes.set_xlabel(f"{forest.title} ({forest.unit}; {side} is better)")
        save(figure, path)
