"""The rational function whose largest error is the smallest possible, by the differential correction algorithm.

Barrodale, Powell & Roberts 1972, SIAM J. Numer. Anal. 9. Where the denominator is linear in its coefficients and
positive, each step is a linear programme, and the steps lead to the best of all fits at the given points. Points are
added where the error between them is larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

POINTS = 301  # to begin with
ANGLES = 801  # at which the whole real line is watched: so many that no usual Q falls by CLEARANCE between two
ROUNDS, STEPS = 8, 60  # of adding points, and of linear programmes for each set of points
LOWEST = 1e-4  # Q(0), in units of Q's largest coefficient: bounds how large coefficients become
CLEARANCE = 5e-4  # of a denominator from zero, in the same units


@dataclass(frozen=True)
class Sheet:
    """Denominators Q(x) = 1 + sum_{j=1..n} b_j z_j(x) for |x| <= 1, linear in b and positive.

    "terms": z_j = |x|^j and b_j >= 0. "line": z_j = x^j and Q > 0 for all real x; n is even. "sum": z_j = x^j and the
    sum is >= 0. "odd sum": z_j = sign(x) x^j and the sum is >= 0. "positive": z_j = x^j and Q > 0.
    """

    m: int
    n: int
    kind: Literal["terms", "line", "sum", "odd sum", "positive"]

    def above(self, x: Array) -> Array:
        """(N,) -> (N, m + 1): the numerator's powers of x."""
        return np.vander(x, self.m + 1, increasing=True)

    def below(self, x: Array) -> Array:
        """(N,) -> (N, n): the z_j."""
        if self.kind == "terms":
            return np.vander(np.abs(x), self.n + 1, increasing=True)[:, 1:]
        powers = np.vander(x, self.n + 1, increasing=True)[:, 1:]
        return powers * np.sign(x)[:, None] if self.kind == "odd sum" else powers

    def lowest(self) -> Array:
        """(n,): the smallest values that the b_j may have."""
        return np.full(self.n, 0.0 if self.kind == "terms" else -np.inf)

    def guards(self, x: Array) -> tuple[Array, float]:
        """A matrix (K, 1 + n) and a floor: Q is as it must be where matrix @ (1, b) >= floor."""
        if self.kind == "terms":
            return np.zeros((0, 1 + self.n)), 0.0
        if self.kind == "line":  # x = tan(angle), and all divided by 1 + x^n
            angle = np.linspace(-np.pi / 2, np.pi / 2, ANGLES)[:, None]
            sine, cosine, j = np.sin(angle), np.cos(angle), np.arange(self.n + 1)
            return sine**j * cosine ** (self.n - j) / (sine**self.n + cosine**self.n), CLEARANCE
        inside = float(self.kind == "positive")
        return np.hstack([np.full((len(x), 1), inside), self.below(x)]), inside * CLEARANCE


def best_fit(sheet: Sheet, target: Callable[[Array], Array], dense: Array) -> tuple[Array, Array]:
    """The P and Q, as a_0..a_m and b_1..b_n, with the smallest largest error at the points `dense` (N,), sorted."""
    low, high = dense[0], dense[-1]
    x = (low + high) / 2 - (high - low) / 2 * np.cos(np.linspace(0, np.pi, POINTS))
    a: Array = np.linalg.lstsq(sheet.above(x), target(x), rcond=None)[0]
    b: Array = np.zeros(sheet.n)
    values = target(dense)
    for _ in range(ROUNDS):
        a, b, largest = _corrected(sheet, x, target(x), a, b)
        error = np.abs(values - sheet.above(dense) @ a / (1 + sheet.below(dense) @ b))
        if error.max() <= 1.0001 * largest + 1e-12:
            break
        peaks = (error[1:-1] >= error[:-2]) & (error[1:-1] >= error[2:]) & (error[1:-1] > largest)
        x = np.union1d(x, dense[1:-1][peaks])
    return a, b


def _corrected(sheet: Sheet, x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array, float]:
    """The best fit at the points x, from a first one, and its largest error.

    Each step looks for the P and Q with the largest reduction w of |y Q - P| - (error so far) Q, relative to the Q so
    far; Q is scaled so that its largest coefficient is at most one.
    """
    from scipy.optimize import linprog

    above, below = sheet.above(x), np.hstack([np.ones((len(x), 1)), sheet.below(x)])
    guards, floor = sheet.guards(x)
    unit = 1 / max(1.0, np.abs(b).max(initial=0.0))
    q = below @ np.r_[1.0, b] * unit
    largest = np.abs(y - unit * above @ a / q).max()
    objective = np.r_[np.zeros(above.shape[1] + below.shape[1]), 1.0]
    bounds = [(None, None)] * above.shape[1] + [(LOWEST, 1.0)]
    bounds += [(max(least, -1.0), 1.0) for least in sheet.lowest()] + [(None, None)]
    fence = np.hstack([np.zeros((len(guards), above.shape[1])), -guards, np.zeros((len(guards), 1))])
    limits = np.r_[np.zeros(2 * len(x)), np.full(len(guards), -floor)]
    for _ in range(STEPS):
        too_low = np.hstack([-above, (y - largest)[:, None] * below, -q[:, None]])
        too_high = np.hstack([above, (-y - largest)[:, None] * below, -q[:, None]])
        found = linprog(objective, A_ub=np.vstack([too_low, too_high, fence]), b_ub=limits, bounds=bounds)
        if found.status != 0:
            break
        p, z = found.x[: above.shape[1]], found.x[above.shape[1] : -1]
        error = np.abs(y - above @ p / (below @ z)).max()
        gain = largest - error
        if gain > 0:
            a, b, q, largest = p / z[0], z[1:] / z[0], below @ z, error
        if gain <= 1e-5 * largest:
            break
    return a, b, float(largest)
