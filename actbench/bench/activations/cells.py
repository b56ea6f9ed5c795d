"""One measured combination, what it should reach, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actbench.bench.alternate import Comparison


@dataclass(frozen=True)
class Limits:
    """The largest ratios to GELU that a learnable activation should have."""

    time: float
    memory: float | None = None


# By mode: of an activation alone, and of a whole training step.
FUNCTION_LIMITS = {"compiled": Limits(1.15, 1.05), "eager": Limits(4.0)}
STEP_LIMITS = {"compiled": Limits(1.05, 1.05)}


@dataclass(frozen=True)
class Cell:
    """A candidate against a baseline, at one shape, in one dtype and mode.

    `kind` is "function", "peer", "bert step" or "gpt step". `shape` is (rows, F); of a step, (sequences, tokens).
    """

    kind: str
    name: str
    against: str
    shape: tuple[int, int]
    dtype: str
    mode: str
    gated: bool
    limits: Limits | None
    comparison: Comparison

    @property
    def met(self) -> bool | None:
        """Whether all ratios are within their limits; None where there are none."""
        if self.limits is None:
            return None
        memory = self.limits.memory
        slim = memory is None or self.comparison.memory_ratio <= memory
        return slim and self.comparison.time_ratio <= self.limits.time

    @property
    def size(self) -> str:
        """The shape as it is typed: 2048x3072."""
        return "x".join(map(str, self.shape))

    def summary(self) -> str:
        """1.08 [1.05, 1.11] 1.00: the median time ratio, its quartiles, the memory ratio; a cross above a limit."""
        c = self.comparison
        low, high = c.time_quartiles
        return f"{c.time_ratio:.2f} [{low:.2f}, {high:.2f}] {c.memory_ratio:.2f}{' ✗' if self.met is False else ''}"

    def to_json(self) -> dict[str, Any]:
        """JSON data, unrounded. Times are medians over the rounds."""
        c, limits = self.comparison, self.limits
        return {
            "kind": self.kind,
            "name": self.name,
            "against": self.against,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "mode": self.mode,
            "gated": self.gated,
            "milliseconds": c.milliseconds,
            "baseline_milliseconds": c.baseline_milliseconds,
            "time_ratio": c.time_ratio,
            "time_quartiles": list(c.time_quartiles),
            "memory_bytes": c.memory_bytes,
            "baseline_memory_bytes": c.baseline_memory_bytes,
            "memory_ratio": c.memory_ratio,
            "target": None if limits is None else {"time": limits.time, "memory": limits.memory},
            "met": self.met,
        }
