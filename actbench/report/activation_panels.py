"""The learned activations as the page draws them: a panel a layer, as paths that follow its colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actbench.analysis.curves import Array, Histogram, SlotCurve, slot_curves
from actbench.report.figures_activations import panel_slots, panel_title, vertical_limits
from actbench.store import Run

# In the panel's own units.
WIDTH, CURVE, HISTOGRAM = 200.0, 132.0, 34.0
EVERY = 5  # of the curve's points, one each hundredth, so many are one


@dataclass(frozen=True)
class Panel:
    """One slot: paths of the function before and after training and of its inputs' histogram, where there are any."""

    title: str
    before: str
    after: str
    inputs: str
    zero: float  # where y = 0 lies
    label: str  # what a reader who does not see it should hear


@dataclass(frozen=True)
class PanelGrid:
    """One activation of one model, all its slots on one vertical range."""

    model: str
    label: str
    low: float
    high: float
    panels: tuple[Panel, ...]


def panel_grid(run: Run, model: str, label: str) -> PanelGrid:
    """The panels of a run. Raises BadInput where it recorded no activations."""
    curves = {curve.slot: curve for curve in slot_curves(run)}
    shown = [curves[slot] for slot in panel_slots(list(curves.values()))]
    low, high = vertical_limits(shown)
    return PanelGrid(model, label, low, high, tuple(_panel(curve, low, high) for curve in shown))


def _panel(curve: SlotCurve, low: float, high: float) -> Panel:
    title = panel_title(curve.slot)
    learned = "before (dotted) and after training" if curve.learnable else "which learns nothing"
    return Panel(
        title,
        _line(curve.x, curve.initial, low, high) if curve.learnable else "",
        _line(curve.x, curve.final, low, high),
        "" if curve.inputs is None else _stairs(curve.inputs),
        round(_height(np.zeros(1), low, high)[0], 1),
        f"{title}: {curve.activation} on [{curve.x[0]:.0f}, {-curve.x[0]:.0f}], {learned}",
    )


def _line(x: Array, y: Array, low: float, high: float) -> str:
    """A path through every few of the points. What is far off the panel is clipped near its edge."""
    chosen = np.append(np.arange(0, len(x) - 1, EVERY), len(x) - 1)
    across = WIDTH * (x - x[0]) / (x[-1] - x[0])
    up = np.clip(_height(y, low, high), -CURVE, 2 * CURVE)
    return "M" + "L".join(f"{across[i]:.1f} {up[i]:.1f}" for i in chosen)


def _height(y: Array, low: float, high: float) -> Array:
    return np.asarray(CURVE * (high - y) / (high - low))


def _stairs(inputs: Histogram) -> str:
    """The histogram as one filled path, its highest bin as high as the strip."""
    heights = HISTOGRAM * (1 - inputs.fractions / (inputs.fractions.max() or 1.0))
    edges = WIDTH * (inputs.edges - inputs.edges[0]) / (inputs.edges[-1] - inputs.edges[0])
    steps = "".join(f"V{height:.1f}H{edge:.1f}" for height, edge in zip(heights, edges[1:], strict=True))
    return f"M0 {HISTOGRAM:.0f}{steps}V{HISTOGRAM:.0f}Z"
