"""How a quantity grows with a size: by which power, or as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Exponents:
    """The power p by which a quantity grows as size^p: 1 in proportion to it, 2 with its square, 0 not at all.

    whole: the slope of the logarithms over all sizes. steps: the same from each size to the next.
    """

    whole: float
    steps: tuple[float, ...]

    @property
    def last(self) -> float:
        """Between the two largest sizes."""
        return self.steps[-1]

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"whole": self.whole, "steps": list(self.steps)}


@dataclass(frozen=True)
class Line:
    """value = fixed + each * size, the line that misses the values least, each by its share."""

    fixed: float
    each: float
    worst: float  # the largest miss, as a share of the value

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"fixed": self.fixed, "each": self.each, "worst": self.worst}


def exponents(sizes: Sequence[float], values: Sequence[float]) -> Exponents:
    """Of positive values at two rising sizes or more."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    steps = [(y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i in range(len(x) - 1)]
    return Exponents(linear_regression(x, y).slope, tuple(steps))


def exponents_by_round(sizes: Sequence[float], rounds: Sequence[Sequence[float]]) -> Exponents:
    """The medians over rounds, each of which has a value a size: what slows a whole round changes no exponent."""
    found = [exponents(sizes, values) for values in rounds]
    steps = zip(*(each.steps for each in found), strict=True)
    return Exponents(median(each.whole for each in found), tuple(median(step) for step in steps))


def line(sizes: Sequence[float], values: Sequence[float]) -> Line:
    """Through positive values at two different sizes or more."""
    x, y = np.asarray(sizes, float), np.asarray(values, float)
    each, fixed = np.polyfit(x, y, 1, w=1 / y)
    return Line(float(fixed), float(each), float(np.abs((fixed + each * x) / y - 1).max()))
