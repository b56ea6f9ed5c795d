"""The functions that a file of rational coefficients holds, as those of a run's slots."""

from __future__ import annotations

from typing import Any

import torch

from actbench.activations import Activation, create
from actbench.activations.coefficients import Entry
from actbench.analysis.curves import Array, Grid, SlotCurve


def coefficient_curves(entries: list[Entry], grid: Grid | None = None) -> list[SlotCurve]:
    """Each entry's function and, as its start, the function of its version and degrees that is like GELU.

    One entry is that of every layer. Several are the layers' in order; where their number is odd, the last is the
    pooler's.
    """
    slots = [f"layers.{i}" for i in range(len(entries))] if len(entries) > 1 else ["every layer"]
    if len(entries) > 1 and len(entries) % 2:
        slots[-1] = "pooler"
    x = (grid or Grid()).points()
    curves = []
    for slot, entry in zip(slots, entries, strict=True):
        kind: dict[str, Any] = {"version": entry.version, "degrees": entry.degrees}
        learned = create("raf", numerator=entry.numerator, denominator=entry.denominator, **kind)
        start, final = _values(create("raf", **kind), x), _values(learned, x)
        curves.append(SlotCurve(slot, "raf", True, x, start, final, None))
    return curves


def _values(module: Activation, x: Array) -> Array:
    with torch.no_grad():
        values: Array = module.double().eval()(torch.from_numpy(x)).numpy()
    return values
