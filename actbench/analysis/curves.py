"""What a run's activations became: every slot's function before, during and after training, and its inputs.

A slot is a place in the model that holds an activation: one feed-forward block, or BERT's pooler.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from actbench.activations import Activation, create, curve
from actbench.activations.describe import stand_in_inputs
from actbench.config.own_files import find_copy
from actbench.config.tuning import FULL, moves
from actbench.errors import BadInput, Problem
from actbench.store import Run

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The points a curve is drawn at, [low, high) by `step`; the histogram's `bins` share the range."""

    low: float = -4.0
    high: float = 4.0
    step: float = 0.01
    bins: int = 64

    def points(self) -> Array:
        """The x values. Counted, not accumulated, so that rounding cannot add a point."""
        return self.low + self.step * np.arange(round((self.high - self.low) / self.step), dtype=np.float64)


@dataclass(frozen=True)
class Histogram:
    """The fraction of all inputs that falls into each bin; `outside` is the fraction off the grid."""

    edges: Array
    fractions: Array
    outside: float


@dataclass(frozen=True)
class SlotCurve:
    """One slot's function at the points `x`: as it started, and as training left it."""

    slot: str
    activation: str
    learnable: bool
    x: Array
    initial: Array
    final: Array
    inputs: Histogram | None  # None: the run kept no sample of this slot's inputs
    whole_row: bool = False  # drawn for the rows of that sample, or for normal numbers where there is none


def slot_curves(run: Run, grid: Grid | None = None) -> list[SlotCurve]:
    """The curves of all of a run's slots, in the model's order.

    Raises BadInput when the run kept no activations, or kept coefficients that do not fit their activation.
    """
    grid = grid or Grid()
    samples = input_samples(run)
    return [_slot_curve(run, slot, samples.get(slot["name"]), grid) for slot in recorded_slots(run)]


def curves_over_training(run: Run, most: int, grid: Grid | None = None) -> dict[int, list[SlotCurve]]:
    """The curves of all of a run's slots at step 0 and after every validation or epoch; `final` is that step's.

    Of more than `most` steps, so many are taken, evenly, the first and the last among them. Raises BadInput as
    `slot_curves` does, and when the run logged no coefficients, or not one by one.
    """
    grid = grid or Grid()
    rows = {row["step"]: row["values"] for row in run.metrics() if row.get("kind") == "coefficients"}
    slots = recorded_slots(run)
    if not rows:
        raise BadInput(Problem(f"run {run.id} logged no coefficients", hint=_why_none(run, slots)))
    rows, samples = {0: {}, **rows}, input_samples(run)
    steps = list(rows)
    taken = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)
    return {
        step: [_slot_curve(run, slot, samples.get(slot["name"]), grid) for slot in _as_of(run, slots, rows[step])]
        for step in (steps[i] for i in taken)
    }


def recorded_slots(run: Run) -> list[dict[str, Any]]:
    """The slots of activations.json. Raises BadInput when the run has no such file or it is damaged."""
    path = run.folder / "activations.json"
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["slots"])
    except FileNotFoundError:
        hint = f"it is {run.status}; activations are written at the end of training"
        raise BadInput(Problem(f"run {run.id} recorded no activations", hint=hint)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(Problem(f"damaged: {error}", where=str(path))) from None


def input_samples(run: Run) -> dict[str, NDArray[np.float32]]:
    """What each slot received on one batch, (R, F) by slot; empty when the run kept none. Raises BadInput."""
    path = run.folder / "activation_inputs.safetensors"
    if not path.exists():
        return {}
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadInput(Problem(f"damaged: {error}", where=str(path))) from None


def _why_none(run: Run, slots: list[dict[str, Any]]) -> str:
    if not any(slot["final"] for slot in slots):
        return "its activations have none"
    mode = run.info.get("finetune", {}).get("tune", FULL)
    if "activation" not in moves(mode):
        return f"tune={mode} leaves them as they were"
    return "they are at every validation of pre-training, and after every epoch of fine-tuning"


def _as_of(run: Run, slots: list[dict[str, Any]], values: dict[str, Any]) -> list[dict[str, Any]]:
    """The slots with the `values` of a metrics row as their final coefficients; what it lacks is as it began."""
    for name, own in values.items():
        if any(isinstance(numbers, dict) for numbers in own.values()):
            hint = "a set of more than a thousand is logged by its mean and spread"
            raise BadInput(Problem(f"run {run.id}, slot {name}: coefficients were not logged one by one", hint=hint))
    return [{**slot, "final": values.get(slot["name"], slot["initial"])} for slot in slots]


def _slot_curve(run: Run, slot: dict[str, Any], sample: NDArray[np.float32] | None, grid: Grid) -> SlotCurve:
    x = grid.points()
    points = torch.from_numpy(x).float()
    inputs = torch.from_numpy(sample) if sample is not None else stand_in_inputs()
    initial, final = (_rebuild(run, slot, state) for state in ("initial", "final"))
    with torch.no_grad():
        before, after = (curve(module, points, inputs).double().numpy() for module in (initial, final))
    histogram = _histogram(sample, grid) if sample is not None else None
    learnable, whole_row = bool(slot["final"]), final.whole_row
    return SlotCurve(slot["name"], slot["activation"]["name"], learnable, x, before, after, histogram, whole_row)


def _rebuild(run: Run, slot: dict[str, Any], state: str) -> Activation:
    """The slot's activation with the coefficients it had at `state`: "initial" or "final"."""
    options = {key: value for key, value in slot["activation"].items() if key != "name"}
    module = create(find_copy(slot["activation"]["name"], run.folder), width=slot.get("width"), **options)
    coefficients = {name: torch.tensor(value) for name, value in slot[state].items()}
    expected, got = {name for name, _ in module.named_parameters()}, set(coefficients)
    if expected != got:
        message = f"run {run.id}, slot {slot['name']}: coefficients {sorted(got)}, expected {sorted(expected)}"
        raise BadInput(message)
    try:
        module.load_state_dict(coefficients, strict=False)  # a buffer is built, not learnt
    except RuntimeError as error:
        raise BadInput(f"run {run.id}, slot {slot['name']}: {error}") from None
    return module


def _histogram(sample: NDArray[np.float32], grid: Grid) -> Histogram:
    counts, edges = np.histogram(sample, bins=grid.bins, range=(grid.low, grid.high))
    fractions = counts / max(1, sample.size)
    return Histogram(edges, fractions, max(0.0, 1.0 - float(fractions.sum())))
