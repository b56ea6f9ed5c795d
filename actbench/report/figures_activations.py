"""The learned activations: a panel a layer, the inputs' histogram beneath, as in RAFT's figures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from actbench.activations.coefficients import read
from actbench.analysis.coefficient_curves import coefficient_curves
from actbench.analysis.cohorts import seed_key
from actbench.analysis.curves import SlotCurve, slot_curves
from actbench.analysis.labels import labels
from actbench.errors import BadInput
from actbench.report.figure_style import MUTED, colours, figure_format, hide_spines, save, shades, style
from actbench.store import Run

# Inches. Fixed, so that a panel looks the same in a figure of two layers and of twenty-four.
PANEL_WIDTH, CURVE_HEIGHT, HISTOGRAM_HEIGHT = 2.05, 1.75, 0.42
GAP_X, GAP_Y, LEFT, RIGHT, BOTTOM, LEGEND_ROW = 0.38, 0.62, 0.5, 0.15, 0.5, 0.22
CENTRAL = 0.99  # the vertical range shows the curves wherever this share of the inputs falls
USUAL = (-1.0, 4.1)  # and their tails in this range, which holds the fixed functions' on [-4, 4]
DOTTED: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (1, 1.6))}


@dataclass(frozen=True)
class _Line:
    """A run, or a file's model, as it is drawn: its slots by name, its legend entry and its colour."""

    slots: dict[str, SlotCurve]
    label: str
    colour: str


def plot_activations(runs: Sequence[Run], path: Path) -> None:
    """Draws each layer's activation after training (solid) and before (dotted), and its inputs' histogram.

    Several runs are overlaid. The pooler has a panel only where it is learnable. Raises BadInput for a suffix
    other than svg, png or pdf, without runs, and for a run that recorded no activations.
    """
    figure_format(path)
    if not runs:
        raise BadInput("no runs to draw activations of")
    lines = _lines(runs)
    with style():
        save(_figure(lines, _panels(lines), "before training"), path)


def plot_coefficients(references: Sequence[str], path: Path) -> None:
    """Draws the rational functions of models, FILE.json or FILE.json:MODEL of coefficient files, a panel a slot.

    The start, the function that is like GELU, is dotted. Raises BadInput for a suffix other than svg, png or pdf, and
    for a file that cannot be read or does not have the model.
    """
    figure_format(path)
    try:
        models = [read(reference) for reference in references]
    except ValueError as error:
        raise BadInput(str(error)) from None
    names = [name for name, _ in models]
    found = [name if names.count(name) == 1 else reference for name, reference in zip(names, references, strict=True)]
    colour_of = colours((label, "raf") for label in found)
    lines = [
        _Line({curve.slot: curve for curve in coefficient_curves(entries)}, label, colour_of[label])
        for label, (_, entries) in zip(found, models, strict=True)
    ]
    with style():
        save(_figure(lines, _panels(lines), "start, like GELU"), path)


def panel_title(slot: str) -> str:
    """A slot's name for readers: layers count from 1, as in the papers."""
    match = re.fullmatch(r"layers\.(\d+)(?:\.(.+))?", slot)
    if match is None:
        return slot.capitalize()
    number, rest = int(match[1]) + 1, match[2]
    return f"Layer {number}, {rest}" if rest else f"Layer {number}"


def _lines(runs: Sequence[Run]) -> list[_Line]:
    found = labels(runs)
    colour_of = colours(zip(found, (run.activation for run in runs), strict=True))
    shades_of = {name: iter(shades(colour_of[name], found.count(name))) for name in set(found)}
    names = [f"{name}, {_origin(run)}" for name, run in zip(found, runs, strict=True)]
    return [
        _Line(
            {curve.slot: curve for curve in slot_curves(run)},
            name if names.count(name) == 1 else f"{label_}, {run.id}",
            next(shades_of[label_]),
        )
        for run, label_, name in zip(runs, found, names, strict=True)
    ]


def _origin(run: Run) -> str:
    seed, finetune_seed = seed_key(run)
    if run.kind == "pretrain":
        return f"seed {seed}"
    return f"{run.info['task']['name']}, seeds {seed}/{finetune_seed}"


def panel_slots(curves: Sequence[SlotCurve]) -> list[str]:
    """The slots that have a panel: every layer, and what else is learnable."""
    slots = dict.fromkeys(curve.slot for curve in curves)
    learnable = {curve.slot for curve in curves if curve.learnable}
    return [slot for slot in slots if slot.startswith("layers.") or slot in learnable]


def _panels(lines: list[_Line]) -> list[str]:
    return panel_slots([curve for line in lines for curve in line.slots.values()])


def _figure(lines: list[_Line], panels: list[str], start: str) -> Figure:
    columns = 3 if len(panels) in (5, 6, 9) else min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    legend_columns = max(1, columns * 2 // (1 + max(len(line.label) for line in lines) // 20))
    legend_rows = math.ceil((len(lines) + 1) / legend_columns)
    sampled = any(curve.inputs is not None for line in lines for curve in line.slots.values())
    histogram = HISTOGRAM_HEIGHT if sampled else 0.0
    panel_height = CURVE_HEIGHT + histogram
    top = 0.36 + LEGEND_ROW * legend_rows
    width = LEFT + columns * PANEL_WIDTH + (columns - 1) * GAP_X + RIGHT
    height = top + rows * panel_height + (rows - 1) * GAP_Y + BOTTOM
    figure = Figure(figsize=(width, height))
    shown = [curve for line in lines for slot, curve in line.slots.items() if slot in panels]
    limits = dict.fromkeys(panels, vertical_limits(shown)) if sampled else _learned_limits(lines, panels)
    for index, slot in enumerate(panels):
        row, column = divmod(index, columns)
        x = LEFT + column * (PANEL_WIDTH + GAP_X)
        y = height - top - (row + 1) * panel_height - row * GAP_Y
        upper = figure.add_axes((x / width, (y + histogram) / height, PANEL_WIDTH / width, CURVE_HEIGHT / height))
        drawn = [(line, line.slots[slot]) for line in lines if slot in line.slots]
        _draw_curves(upper, drawn, limits[slot], panel_title(slot))
        lowest = upper
        if sampled:
            lowest = figure.add_axes((x / width, y / height, PANEL_WIDTH / width, histogram / height))
            upper.tick_params(labelbottom=False, length=0)
            hide_spines(upper, "bottom")
            _draw_histograms(lowest, drawn)
        lowest.set_xlabel("input" if index + columns >= len(panels) else "")
    handles = _legend(lines, start if any(curve.learnable for line in lines for curve in line.slots.values()) else "")
    corner = (LEFT / width, 1 - 0.06 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=legend_columns, borderaxespad=0)
    return figure


def _draw_curves(axes: Axes, drawn: list[tuple[_Line, SlotCurve]], limits: tuple[float, float], title: str) -> None:
    axes.axhline(0, color="#bdbdbd", linewidth=0.7)
    axes.axvline(0, color="#bdbdbd", linewidth=0.7)
    one_start = len(drawn) > 1 and all(np.array_equal(curve.initial, drawn[0][1].initial) for _, curve in drawn)
    for line, curve in drawn[:1] if one_start else drawn:
        if curve.learnable:
            axes.plot(curve.x, curve.initial, color=MUTED if one_start else line.colour, **DOTTED)
    for line, curve in drawn:
        axes.plot(curve.x, curve.final, color=line.colour, linewidth=1.6 if len(drawn) == 1 else 1.2)
    _frame_x(axes, drawn)
    axes.set_ylim(limits)
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.tick_params(length=0)
    hide_spines(axes, "left")
    axes.set_title(title)


def _draw_histograms(axes: Axes, drawn: list[tuple[_Line, SlotCurve]]) -> None:
    for line, curve in drawn:
        if curve.inputs is not None:
            fractions, edges = curve.inputs.fractions, curve.inputs.edges
            if len(drawn) == 1:  # overlaid fills would mix to a colour of none of the runs
                axes.stairs(fractions, edges, fill=True, color=line.colour, alpha=0.35, linewidth=0)
            axes.stairs(fractions, edges, color=line.colour, linewidth=0.8)
    if all(curve.inputs is None for _, curve in drawn):
        axes.text(0.5, 0.35, "inputs not sampled", transform=axes.transAxes, ha="center", color=MUTED, fontsize=7.5)
    _frame_x(axes, drawn)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    hide_spines(axes, "left")


def _frame_x(axes: Axes, drawn: list[tuple[_Line, SlotCurve]]) -> None:
    x = drawn[0][1].x
    low, high = float(x[0]), float(2 * x[-1] - x[-2])  # the grid leaves out its upper end
    axes.set_xticks(np.linspace(low, high, 5))
    axes.set_xlim(low, high)


def _legend(lines: list[_Line], start: str) -> list[Line2D]:
    handles = [Line2D([], [], color=line.colour, linewidth=1.8, label=line.label) for line in lines]
    if start:
        handles.append(Line2D([], [], color=MUTED, label=start, **DOTTED))
    return handles


def vertical_limits(curves: Sequence[SlotCurve]) -> tuple[float, float]:
    """One range for all curves, so that layers compare.

    It holds the curves wherever inputs fall, and elsewhere what lies in USUAL: other tails may run off it.
    """
    all_values = np.concatenate([values for curve in curves for values in (curve.initial, curve.final)])
    central = np.concatenate([values[_central(curve)] for curve in curves for values in (curve.initial, curve.final)])
    low = min(float(central.min()), max(float(all_values.min()), USUAL[0]))
    high = max(float(central.max()), min(float(all_values.max()), USUAL[1]))
    return _with_margin(low, high)


def _learned_limits(lines: list[_Line], panels: list[str]) -> dict[str, tuple[float, float]]:
    """One range for all layers and one for each other slot, which hold what was learned: starts may run off them."""
    limits: dict[str, tuple[float, float]] = {}
    for kind in {_kind(slot) for slot in panels}:
        alike = [slot for slot in panels if _kind(slot) == kind]
        learned = np.concatenate([line.slots[slot].final for slot in alike for line in lines if slot in line.slots])
        limits |= dict.fromkeys(alike, _with_margin(float(learned.min()), float(learned.max())))
    return limits


def _kind(slot: str) -> str:
    return slot.partition(".")[0]


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


def _central(curve: SlotCurve) -> slice:
    """The part of the grid that holds the central share of the inputs."""
    start, stop = 0, len(curve.x)
    if curve.inputs is not None and curve.inputs.fractions.any():
        reached = np.cumsum(curve.inputs.fractions) / curve.inputs.fractions.sum()
        tail = (1 - CENTRAL) / 2
        low, high = np.searchsorted(reached, (tail, 1 - tail))
        ends = curve.inputs.edges[[low, min(high + 1, len(reached))]]
        start, stop = np.searchsorted(curve.x, ends)
    return slice(int(start), int(stop))
