"""How coefficients moved over training: one line for each number that a slot learns, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actbench.analysis.curves import recorded_slots
from actbench.errors import BadInput, Problem
from actbench.store import Run

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """One coefficient of one slot: its value at every step it was logged, the first before training.

    Where a slot has several sets of coefficients, a value is the mean over them.
    """

    slot: str
    name: str
    steps: Array
    values: Array

    @property
    def moved(self) -> float:
        """Its value at the end minus its value at the start."""
        return float(self.values[-1] - self.values[0])


def trajectories(run: Run) -> list[Trajectory]:
    """All of a run's coefficients, in the model's order. Raises BadInput for a run that logged none."""
    rows = {row["step"]: row["values"] for row in run.metrics() if row["kind"] == "coefficients"}
    if not rows:
        hint = "they are logged at every validation where an activation learns"
        raise BadInput(Problem(f"run {run.id} logged no coefficients", hint=hint))
    slots = {slot["name"]: slot for slot in recorded_slots(run)} if run.manifest is not None else {}
    found = []
    for name, parameters in next(iter(rows.values())).items():
        start = slots.get(name, {}).get("initial", {})
        activation = slots.get(name, {}).get("activation") or run.info["recipe"]["model"]["activation"]
        for parameter, logged in parameters.items():
            k = _k(logged, one_set=activation.get("sharing", "layer") == "layer")
            history = {step: _numbers(values[name][parameter], k) for step, values in rows.items()}
            if parameter in start:
                history = {0: _numbers(start[parameter], k), **history}
            steps = np.array(list(history), dtype=float)
            found += [
                Trajectory(name, f"{parameter}[{i}]" if k > 1 else parameter, steps, np.array(values))
                for i, values in enumerate(zip(*history.values(), strict=True))
            ]
    return found


def names_in_order(found: Sequence[Trajectory]) -> list[str]:
    """Every coefficient's name once, in the order in which slots have them."""
    return list(dict.fromkeys(one.name for one in found))


def _k(logged: Any, *, one_set: bool) -> int:
    """How many coefficients a set of a parameter has; a summary of many tells their mean, one number."""
    if isinstance(logged, Mapping):
        return 1
    shape = np.shape(logged)[0 if one_set else 1 :]  # several sets lie along the first axis
    return int(shape[-1]) if shape else 1


def _numbers(logged: Any, k: int) -> list[float]:
    """The k coefficients, means over sets where there are several."""
    if isinstance(logged, Mapping):
        return [float(logged["mean"])]
    return [float(value) for value in np.asarray(logged, dtype=float).reshape(-1, k).mean(0)]
