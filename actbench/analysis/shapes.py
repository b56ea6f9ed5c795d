"""The shape of a curve: where it rises and turns, and how far it is from others.

Shapes: N curves of P points each. A curve's points stand evenly on an interval; REACH says on which part of it curves
are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

Array = NDArray[np.float64]

REACH = 3.0  # curves are compared on [-3, 3]
FLAT = 1e-6  # of a curve's largest value: a step smaller than that is rounding and neither rises nor falls
REFERENCES: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: x * ndtr(x),
    "relu": lambda x: np.maximum(x, 0.0),
    "silu": lambda x: x * expit(x),
}


@dataclass(frozen=True)
class Gap:
    """How far two curves are apart: root mean square and largest difference."""

    rms: float
    max: float


@dataclass(frozen=True)
class Shape:
    """A curve on [-3, 3].

    `rises` and `falls` are shares of the interval; what is left is flat. `turns` counts where the curve goes over from
    rising to falling or back, so that a curve without turns is monotone. `lowest` is its least value, first met at
    `lowest_at`.
    """

    rises: float
    falls: float
    turns: int
    lowest: float
    lowest_at: float
    gaps: dict[str, Gap]  # to each of REFERENCES

    @property
    def nearest(self) -> str:
        """The reference with the smallest root mean square difference."""
        return min(self.gaps, key=lambda name: self.gaps[name].rms)


def compared(x: Array) -> NDArray[np.bool_]:
    """Which of the points `x` lie on the interval that curves are compared on, its ends included."""
    return np.abs(x) <= REACH + 1e-9


def shape(x: Array, y: Array) -> Shape:
    """The shape of the curve through (x, y), each (P,)."""
    here = compared(x)
    x, y = x[here], y[here]
    steps = np.diff(y)
    flat = FLAT * float(np.abs(y).max(initial=0.0))
    signs = np.where(np.abs(steps) > flat, np.sign(steps), 0.0)
    moving = signs[signs != 0]
    lowest = int(y.argmin())
    return Shape(
        rises=float(np.mean(signs > 0)),
        falls=float(np.mean(signs < 0)),
        turns=int(np.count_nonzero(np.diff(moving))),
        lowest=float(y[lowest]),
        lowest_at=float(x[lowest]),
        gaps={name: gap(y, reference(x)) for name, reference in REFERENCES.items()},
    )


def gap(one: Array, other: Array) -> Gap:
    """How far two curves at the same points, each (P,), are apart."""
    apart = np.abs(one - other)
    return Gap(float(np.sqrt(np.mean(apart**2))), float(apart.max()))


def distances(values: Array) -> Array:
    """The root mean square differences (N, N) between N curves, the rows of `values` (N, P)."""
    return np.asarray(np.sqrt(((values[:, None] - values[None]) ** 2).mean(-1)))
