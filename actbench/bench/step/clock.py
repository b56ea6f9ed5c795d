"""The seconds of each part of each step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from torch.profiler import record_function

from actbench.training.hardware import now

PARTS = ("data", "forward", "backward", "optimiser")
REST = "rest"
RANGE = "part of a step: "  # how a part is named in a profile


@dataclass(frozen=True)
class Seconds:
    """What a part took: median and quartiles over the steps, and its share of all their time."""

    median: float
    quartiles: tuple[float, float]
    share: float

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"median": self.median, "quartiles": list(self.quartiles), "share": self.share}


class Clock:
    """Times the parts of the steps that it is told of; what is in no part is the step's rest.

    On a GPU each part waits for the work that was queued in it, so that the time lands where the work was asked for.
    """

    def __init__(self, device: str):
        self.device = device
        self.wholes: list[float] = []  # seconds of each step, data included
        self.parts: list[dict[str, float]] = []  # of the same steps
        self.first_step_end = 0.0  # on time.perf_counter's scale
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._mark = 0.0
        self._open: tuple[str, record_function, float] | None = None  # the part that is going on, and since when

    def begin(self, part: str) -> None:
        """The part begins; it ends with `end`, before another one begins."""
        marked = record_function(RANGE + part)
        marked.__enter__()
        self._open = part, marked, now(self.device)

    def end(self) -> None:
        """The part that began last is over. A step may have a part more than once."""
        assert self._open is not None
        part, marked, begun = self._open
        self._seconds[part] += now(self.device) - begun
        marked.__exit__(None, None, None)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The body is part `name` of the step."""
        self.begin(name)
        try:
            yield
        finally:
            self.end()

    def start(self) -> None:
        """The next step begins now; what happened since the last one ended is in none."""
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._mark = now(self.device)

    def step_done(self) -> None:
        """A step is over."""
        end = now(self.device)
        if not self.wholes:
            self.first_step_end = end
        self.wholes.append(end - self._mark)
        self.parts.append(self._seconds)

    def summary(self, skip: int) -> tuple[Seconds, dict[str, Seconds]]:
        """The whole step, and its parts and rest, without the first `skip` steps. Needs two more at least."""
        wholes, parts = self.wholes[skip:], self.parts[skip:]
        columns = {name: [step[name] for step in parts] for name in PARTS}
        columns[REST] = [whole - sum(step.values()) for whole, step in zip(wholes, parts, strict=True)]
        total = sum(wholes)
        return _seconds(wholes, total), {name: _seconds(column, total) for name, column in columns.items()}


def _seconds(values: list[float], total: float) -> Seconds:
    first, _, third = quantiles(values, n=4, method="inclusive")
    return Seconds(median(values), (first, third), sum(values) / total)
