"""How a run's activations came about: a panel a layer coloured by step, a strip of steps, or an animation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from PIL import Image

from actbench.analysis.curves import SlotCurve, curves_over_training
from actbench.analysis.model_curves import BEFORE, PRETRAINED, ModelCurves, chosen_slots
from actbench.errors import BadInput, Problem
from actbench.report.curve_panels import LEFT, PANEL_WIDTH, Line, Panel, line_handle, panel_figure, start_handle
from actbench.report.figure_style import MOVING, PROGRESS, colours, figure_format, save, style
from actbench.report.figures_activations import layers_overlaid, panel_limits, panel_title
from actbench.store import Run
from actbench.store.atomic import replacing

Steps = Mapping[int, Sequence[SlotCurve]]

LINES, COLUMNS, FRAMES = 40, 6, 60  # steps drawn at most in a panel, in a strip, in an animation
FRAME_MS, LAST_MS = 150, 2000  # how long an animation shows a step, and the last one
DPI, TONES = 90, 64  # of an animation


@dataclass(frozen=True)
class _History:
    """A run's curves by step, and the slots that are drawn, all on one scale a slot."""

    run: Run
    steps: Steps
    slots: list[str]

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        return panel_limits([self.model(step) for step in self.steps], self.slots)

    @property
    def start(self) -> str:
        """What the curves at step 0 are."""
        return PRETRAINED if self.run.kind == "finetune" else BEFORE

    @property
    def learned(self) -> list[str]:
        """The slots with coefficients; another's curve stays as it is."""
        learnable = {curve.slot for curve in next(iter(self.steps.values())) if curve.learnable}
        return [slot for slot in self.slots if slot in learnable] or self.slots

    def model(self, step: int) -> ModelCurves:
        """The run as it was after `step` steps, as if that were a model of its own."""
        curves = {curve.slot: curve for curve in self.steps[step]}
        return ModelCurves(curves, f"step {step:,}", "", self.run.activation, self.start, self.run.id)

    def curve(self, step: int, slot: str) -> SlotCurve:
        return next(curve for curve in self.steps[step] if curve.slot == slot)


def plot_over_training(
    run: Run, path: Path, by: Literal["layer", "step"] = "layer", slots: Sequence[str] | None = None
) -> None:
    """Draws how the curves moved, from the coefficients that the run logged at its validations or epochs.

    By layer: a panel a slot, its curve after each of them from light (early) to dark (late). By step: a strip, a
    panel a step with the layers overlaid. A .gif shows one step after another, a panel a slot. Raises BadInput
    for another suffix than svg, png, pdf and gif, for a run that logged no coefficients, and for an unknown slot.
    """
    moving = figure_format(path, moving=True) == MOVING
    if moving and by == "step":
        raise BadInput(Problem("a .gif shows one step after another, a panel a layer", where=str(path)))
    most = FRAMES if moving else LINES if by == "layer" else COLUMNS
    steps = curves_over_training(run, most)
    first = ModelCurves({curve.slot: curve for curve in next(iter(steps.values()))}, "", "", "", BEFORE)
    history = _History(run, steps, chosen_slots([first], slots))
    with style():
        if moving:
            _animate(history, path)
        elif by == "layer":
            save(_coloured_by_step(history), path)
        else:
            models = [history.model(step) for step in history.steps]
            save(layers_overlaid(models, history.slots, columns=len(models)), path)


def _coloured_by_step(history: _History) -> Figure:
    last = max(history.steps)
    scale = Normalize(0, last)
    limits = history.limits
    panels = [
        Panel(
            panel_title(slot),
            [Line(history.curve(step, slot), to_hex(PROGRESS(scale(step)))) for step in history.steps],
            limits[slot],
        )
        for slot in history.learned
    ]
    figure = panel_figure(panels, [start_handle(history.start)], histograms=False)
    _step_bar(figure, scale, last)
    return figure


def _step_bar(figure: Figure, scale: Normalize, last: int) -> None:
    """The bar that says which colour is which step, in the legend's row, to the right."""
    width, height = figure.get_size_inches()
    size = min(1.5, width - LEFT - PANEL_WIDTH * 0.9)
    bar = figure.add_axes(((width - 0.2 - size) / width, 1 - 0.18 / height, size / width, 0.08 / height))
    figure.colorbar(ScalarMappable(scale, PROGRESS), cax=bar, orientation="horizontal", ticks=[0, last])
    bar.set_xticklabels(["step 0", f"{last:,}"], fontsize=7.5)
    bar.tick_params(length=0, pad=2)
    bar.spines["outline"].set_visible(False)


def _animate(history: _History, path: Path) -> None:
    """Writes a frame a step, all on one scale and with the last one's colours; the last stays a while."""
    limits, colour = history.limits, colours([("", history.run.activation)])[""]
    pixels = [_pixels(_frame(history, step, limits, colour)) for step in history.steps]
    palette = pixels[-1].quantize(TONES, Image.Quantize.MAXCOVERAGE)
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in pixels)
    shown = [FRAME_MS] * len(others) + [LAST_MS]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        first.save(temporary, MOVING, save_all=True, append_images=others, duration=shown, loop=0)


def _frame(history: _History, step: int, limits: dict[str, tuple[float, float]], colour: str) -> Figure:
    panels = [
        Panel(panel_title(slot), [Line(history.curve(step, slot), colour)], limits[slot]) for slot in history.learned
    ]
    handles = [line_handle(f"step {step:,}", colour), start_handle(history.start)]
    return panel_figure(panels, handles, histograms=False)


def _pixels(figure: Figure) -> Image.Image:
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
