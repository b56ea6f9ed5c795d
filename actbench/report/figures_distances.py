"""How far curves are apart, as heat maps: a model's layers, several models, and each from where it began."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from actbench.analysis.curve_distances import DistanceMap, between_models, between_slots, drift
from actbench.analysis.model_curves import ModelCurves, chosen_slots, whole_row_notes
from actbench.config.placement import LAYER, POOLER
from actbench.report.figure_style import figure_format, save, style
from actbench.report.figures_activations import panel_title
from actbench.report.heat_maps import HeatMap, heat_figure
from actbench.report.shapes_table import RANGE


def plot_distances(
    models: Sequence[ModelCurves], path: Path, by: Literal["layer", "model"], slots: Sequence[str] | None = None
) -> list[DistanceMap]:
    """Draws the distances between a model's layers, a map a model, or between models, a map a layer; returns them.

    Raises BadInput for a suffix other than svg, png or pdf, an unknown slot, and for models that cannot be compared.
    """
    figure_format(path)
    chosen = chosen_slots(models, slots)
    found = (
        between_models(models, chosen)
        if by == "layer"
        else [between_slots(model, chosen) for model in models if not model.slots.keys().isdisjoint(chosen)]
    )
    _draw(found, f"RMS difference on {RANGE}", models, path)
    return found


def plot_drift(models: Sequence[ModelCurves], path: Path, slots: Sequence[str] | None = None) -> DistanceMap:
    """Draws how far each layer, a column, of each model, a row, is from where it began; returns it.

    Raises BadInput for a suffix other than svg, png or pdf, and for an unknown slot.
    """
    figure_format(path)
    found = drift(models, chosen_slots(models, slots))
    starts = " or ".join(sorted({model.start for model in models}))
    _draw([found], f"RMS difference on {RANGE} to: {starts}", models, path)
    return found


def _draw(found: Sequence[DistanceMap], measure: str, models: Sequence[ModelCurves], path: Path) -> None:
    maps = [
        HeatMap(_name(one.title), [_name(row) for row in one.rows], [_short(x) for x in one.columns], one.values)
        for one in found
    ]
    most = max(one.of_layers for one in found) or max(float(np.nanmax(one.values, initial=0.0)) for one in found)
    with style():
        save(heat_figure(maps, measure, most, whole_row_notes(models)), path)


def _name(name: str) -> str:
    """What a reader calls a slot; a model's label stays as it is."""
    return panel_title(name) if name.startswith(LAYER) or name == POOLER else name


def _short(name: str) -> str:
    return _name(name).removeprefix("Layer ")
