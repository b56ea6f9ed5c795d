"""The four ways in which a training step can be larger: the model's width and depth, the sequences' length and number.

One of them grows at a time, from the same base: the GPT of recipes/nano/gpt.yaml with half its batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from statistics import median, quantiles
from typing import Any

from actbench.bench.alternate import calls_in_a_round, take_turns, warm_up
from actbench.bench.growth.fits import Exponents, Line, exponents, exponents_by_round, line
from actbench.bench.training_step import TrainingStep, random_batch
from actbench.config.schema import GptSection
from actbench.nn.size import size
from actbench.training.hardware import Hardware


@dataclass(frozen=True)
class Shape:
    """A step: the model's width and number of layers, and its sequences. The head's width and d_ff / width stay."""

    width: int = 128
    depth: int = 4
    length: int = 128
    batch: int = 8
    vocabulary: int = 4096
    head: int = 32

    def section(self) -> GptSection:
        """The model."""
        n_heads = max(1, self.width // self.head)
        return GptSection(
            family="gpt", n_layers=self.depth, d_model=self.width, n_heads=n_heads, d_ff=4 * self.width, dropout=0.0
        )

    @property
    def flops(self) -> float:
        """Of a step's matrix products, forward and backward, from the sizes alone."""
        return self.batch * self.length * _flops_per_token(self.section(), self.vocabulary, self.length)

    @property
    def attention_share(self) -> float:
        """The share of the FLOPs that is attention's own products: what is in a token that grows with the length."""
        section, once = self.section(), self.flops / (self.batch * self.length)
        return _flops_per_token(section, self.vocabulary, 2 * self.length) / once - 1

    @property
    def head_share(self) -> float:
        """The share of the FLOPs that is the head's: what grows with the vocabulary."""
        section, once = self.section(), self.flops / (self.batch * self.length)
        return _flops_per_token(section, 2 * self.vocabulary, self.length) / once - 1

    def step(self, hardware: Hardware) -> TrainingStep:
        """The work of one step."""
        section = self.section()
        batch = random_batch(section, self.batch, self.length, self.vocabulary, hardware.device)
        return TrainingStep(section, batch, self.vocabulary, hardware)


@cache
def _flops_per_token(section: GptSection, vocabulary: int, length: int) -> float:
    return float(size(section, vocabulary, length)["flops_per_token"])


# By name: the sizes, each twice the one before, with the base's among them.
SIZES: dict[str, tuple[int, ...]] = {
    "width": (64, 128, 256, 512),
    "depth": (1, 2, 4, 8, 16),
    "length": (64, 128, 256, 512, 1024),
    "batch": (4, 8, 16, 32),
}


@dataclass(frozen=True)
class Point:
    """A step of one shape. held_bytes: weights and optimiser state; above_bytes: the peak of all other tensors."""

    value: int
    shape: Shape
    seconds: tuple[float, ...]  # a round
    held_bytes: int
    above_bytes: int

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        first, _, third = quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    @property
    def peak_bytes(self) -> int:
        """The most that all tensors take."""
        return self.held_bytes + self.above_bytes

    def to_json(self) -> dict[str, Any]:
        """JSON data, unrounded."""
        return {
            "value": self.value,
            "seconds": self.median,
            "quartiles": list(self.quartiles),
            "flops": self.shape.flops,
            "attention_share": self.shape.attention_share,
            "head_share": self.shape.head_share,
            "held_bytes": self.held_bytes,
            "peak_bytes": self.peak_bytes,
        }


@dataclass(frozen=True)
class Axis:
    """What happens to a step when one of its sizes grows."""

    name: str
    points: tuple[Point, ...]

    @property
    def values(self) -> list[int]:
        """The sizes."""
        return [point.value for point in self.points]

    @property
    def time(self) -> Exponents:
        """Of the step's seconds: the median over rounds."""
        rounds = zip(*(point.seconds for point in self.points), strict=True)
        return exponents_by_round(self.values, list(rounds))

    @property
    def flops(self) -> Exponents:
        """What time would do if only the matrix products' arithmetic counted."""
        return exponents(self.values, [point.shape.flops for point in self.points])

    @property
    def memory(self) -> Exponents:
        """Of the tensors' peak."""
        return exponents(self.values, [point.peak_bytes for point in self.points])

    @property
    def line(self) -> Line:
        """Through the median times."""
        return line(self.values, [point.median for point in self.points])

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "axis": self.name,
            "points": [point.to_json() for point in self.points],
            "exponents": {
                "time": self.time.to_json(),
                "flops": self.flops.to_json(),
                "memory": self.memory.to_json(),
            },
            "line": self.line.to_json(),
        }


def measure(name: str, values: tuple[int, ...], base: Shape, *, rounds: int, hardware: Hardware) -> Axis:
    """Steps of all sizes take turns: smallest, ..., largest, smallest, ... A round is a turn of each."""
    shapes = [replace(base, **{name: value}) for value in values]
    works = [shape.step(hardware) for shape in shapes]
    above = warm_up(works, hardware.device)
    calls = [calls_in_a_round(work, hardware.device) for work in works]
    seconds = zip(*take_turns(works, calls, rounds=rounds, device=hardware.device), strict=True)
    held = [work.held_bytes() for work in works]
    return Axis(name, tuple(map(Point, values, shapes, seconds, held, above)))
