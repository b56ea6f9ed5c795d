"""Distances between curves: of a model's layers, of several models, and of each from where it began.

Every distance is the root mean square of the difference on [-3, 3]. Shapes: M models, S slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actbench.analysis.curves import SlotCurve
from actbench.analysis.model_curves import ModelCurves
from actbench.analysis.shapes import Array, compared, distances, gap
from actbench.config.placement import LAYER
from actbench.errors import BadInput

ALL_LAYERS = "All layers"


@dataclass(frozen=True)
class DistanceMap:
    """Distances (rows, columns), each row and column a slot or a model; NaN where a model lacks the slot.

    `of_layers` is the largest of layers alone, which a pooler's may exceed by far; 0 where there are none.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Array
    of_layers: float


def between_slots(model: ModelCurves, slots: Sequence[str]) -> DistanceMap:
    """The distances between those of a model's slots that it has."""
    own = tuple(slot for slot in slots if slot in model.slots)
    values = distances(_stacked([model.slots[slot] for slot in own]))
    layers = _are_layers(own)
    return DistanceMap(model.label, own, own, values, _largest(values[layers][:, layers]))


def between_models(models: Sequence[ModelCurves], slots: Sequence[str]) -> list[DistanceMap]:
    """A map a slot of the models' distances, and before them, of several layers, that over all layers together.

    Raises BadInput for fewer than two models, and where they have not the same layers.
    """
    if len(models) < 2:
        raise BadInput("distances between models need at least two of them")
    layers = [slot for slot in slots if slot.startswith(LAYER)]
    if any(slot not in model.slots for model in models for slot in layers):
        raise BadInput("distances between models need models of as many layers")
    groups = {ALL_LAYERS: layers} if len(layers) > 1 else {}
    groups |= {slot: [slot] for slot in slots}
    return [_between(title, group, [m for m in models if group[0] in m.slots]) for title, group in groups.items()]


def drift(models: Sequence[ModelCurves], slots: Sequence[str]) -> DistanceMap:
    """How far each slot of each model is from where it began."""
    found = [[gap_from_start(m.slots[slot]) if slot in m.slots else np.nan for slot in slots] for m in models]
    values, names = np.array(found), tuple(model.label for model in models)
    return DistanceMap("", names, tuple(slots), values, _largest(values[:, _are_layers(slots)]))


def gap_from_start(curve: SlotCurve) -> float:
    """The distance of what was learned from where it began."""
    here = compared(curve.x)
    return gap(curve.final[here], curve.initial[here]).rms


def _between(title: str, slots: list[str], models: list[ModelCurves]) -> DistanceMap:
    names = tuple(model.label for model in models)
    values = distances(np.array([_stacked([model.slots[slot] for slot in slots]).ravel() for model in models]))
    return DistanceMap(title, names, names, values, _largest(values) if _are_layers(slots).all() else 0.0)


def _stacked(curves: Sequence[SlotCurve]) -> Array:
    return np.array([curve.final[compared(curve.x)] for curve in curves])


def _are_layers(slots: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([slot.startswith(LAYER) for slot in slots])


def _largest(values: Array) -> float:
    return float(np.nanmax(values, initial=0.0))
