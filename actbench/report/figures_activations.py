"""The learned activations as in RAFT's figures: a panel a layer, or a panel a model with its layers overlaid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from actbench.analysis.curves import SlotCurve
from actbench.analysis.model_curves import BEFORE, ModelCurves, chosen_slots, curves_of_runs
from actbench.config.placement import LAYER
from actbench.report.curve_panels import Line, Panel, began_alike, line_handle, panel_figure, start_handle
from actbench.report.figure_style import MUTED, colours, figure_format, progress_colours, save, shades, style
from actbench.store import Run

CENTRAL = 0.99  # the vertical range shows the curves wherever this share of the inputs falls
USUAL = (-1.0, 4.1)  # and their tails in this range, which holds the fixed functions' on [-4, 4]


def plot_activations(runs: Sequence[Run], path: Path) -> None:
    """Draws each layer's activation after training (solid) and before (dotted), and its inputs' histogram.

    Several runs are overlaid. The pooler has a panel only where it is learnable. Raises BadInput for a suffix
    other than svg, png or pdf, without runs, and for a run that recorded no activations.
    """
    figure_format(path)
    plot_by_layer(curves_of_runs(runs), path)


def plot_by_layer(models: Sequence[ModelCurves], path: Path, slots: Sequence[str] | None = None) -> None:
    """Draws a panel a slot, of all or of `slots`, with a line a model and what each began with, dotted.

    Raises BadInput for a suffix other than svg, png or pdf, and for a slot that no model has.
    """
    figure_format(path)
    panels = chosen_slots(models, slots)
    colour_of = model_colours(models)
    limits = panel_limits(models, panels)
    drawn = [
        Panel(
            panel_title(slot),
            [Line(model.slots[slot], colour_of[model.label]) for model in models if slot in model.slots],
            limits[slot],
        )
        for slot in panels
    ]
    handles = [line_handle(model.label, colour_of[model.label]) for model in models]
    if any(curve.learnable for model in models for curve in model.slots.values()):
        handles.append(start_handle(_start(models)))
    with style():
        save(panel_figure(drawn, handles), path)


def plot_by_model(models: Sequence[ModelCurves], path: Path, slots: Sequence[str] | None = None) -> None:
    """Draws a panel a model with a line a slot, from the first layer, light, to the last, dark. Raises as above."""
    figure_format(path)
    with style():
        save(layers_overlaid(models, chosen_slots(models, slots)), path)


def layers_overlaid(models: Sequence[ModelCurves], slots: Sequence[str], columns: int | None = None) -> Figure:
    """A panel a model with a line a slot; to be called within `style`."""
    colour_of = slot_colours(slots)
    layers = [slot for slot in slots if slot.startswith(LAYER)] or slots
    limits = panel_limits(models, layers)[layers[0]]
    panels = []
    for model in models:
        own = [slot for slot in slots if slot in model.slots]
        if not own:
            continue
        panels.append(Panel(model.label, [Line(model.slots[slot], colour_of[slot]) for slot in own], limits))
    handles = [line_handle(panel_title(slot), colour_of[slot]) for slot in slots]
    if any(began_alike(panel.lines) for panel in panels):
        handles.append(start_handle(_start(models)))
    return panel_figure(panels, handles, columns=columns, histograms=False, starts=False)


def panel_title(slot: str) -> str:
    """A slot's name for readers: layers count from 1, as in the papers."""
    match = re.fullmatch(r"layers\.(\d+)(?:\.(.+))?", slot)
    if match is None:
        return slot.capitalize()
    number, rest = int(match[1]) + 1, match[2]
    return f"Layer {number}, {rest}" if rest else f"Layer {number}"


def model_colours(models: Sequence[ModelCurves]) -> dict[str, str]:
    """A colour for each label: one a kind, and shades of it for several models of that kind."""
    colour_of = colours((model.kind, model.activation) for model in models)
    kinds = [model.kind for model in models]
    shades_of = {kind: iter(shades(colour_of[kind], kinds.count(kind))) for kind in set(kinds)}
    return {model.label: next(shades_of[model.kind]) for model in models}


def slot_colours(slots: Sequence[str]) -> dict[str, str]:
    """A colour for each slot: layers from light to dark in their order, others grey."""
    layers = [slot for slot in slots if slot.startswith(LAYER)]
    of_layers = dict(zip(layers, progress_colours(len(layers)), strict=True))
    return {slot: of_layers.get(slot, MUTED) for slot in slots}


def panel_limits(models: Sequence[ModelCurves], slots: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The vertical range of each slot's panel."""
    shown = [curve for model in models for slot, curve in model.slots.items() if slot in slots]
    if any(curve.inputs is not None for curve in shown):
        return dict.fromkeys(slots, vertical_limits(shown))
    return _learned_limits(shown)


def vertical_limits(curves: Sequence[SlotCurve]) -> tuple[float, float]:
    """One range for all curves, so that layers compare.

    It holds the curves wherever inputs fall, and elsewhere what lies in USUAL: other tails may run off it.
    """
    all_values = np.concatenate([values for curve in curves for values in (curve.initial, curve.final)])
    central = np.concatenate([values[_central(curve)] for curve in curves for values in (curve.initial, curve.final)])
    low = min(float(central.min()), max(float(all_values.min()), USUAL[0]))
    high = max(float(central.max()), min(float(all_values.max()), USUAL[1]))
    return _with_margin(low, high)


def _learned_limits(curves: Sequence[SlotCurve]) -> dict[str, tuple[float, float]]:
    """One range for all layers and one for each other slot, which hold what was learned: starts may run off them."""
    limits: dict[str, tuple[float, float]] = {}
    for kind in {_kind(curve.slot) for curve in curves}:
        alike = [curve for curve in curves if _kind(curve.slot) == kind]
        learned = np.concatenate([curve.final for curve in alike])
        limits |= dict.fromkeys(
            (curve.slot for curve in alike), _with_margin(float(learned.min()), float(learned.max()))
        )
    return limits


def _kind(slot: str) -> str:
    return slot.partition(".")[0]


def _start(models: Sequence[ModelCurves]) -> str:
    """What the dotted curves are: the same for all models, or the one word that is true of each."""
    starts = {model.start for model in models}
    return starts.pop() if len(starts) == 1 else BEFORE


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
