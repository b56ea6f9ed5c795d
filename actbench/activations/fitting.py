"""The rational function of given version and degrees that comes closest to a function on an interval.

Several starts: for each sign pattern of the denominator the best fit in the maximum norm (`minimax`), and a linearised
least-squares fit (Sanathanan & Koerner 1963, IEEE Trans. Automatic Control 8); each is polished by non-linear least
squares, and the best of all that have no pole is taken. No random numbers: the same arguments give the same fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from actbench.activations.minimax import Sheet, best_fit

Array = NDArray[np.floating[Any]]
Version = Literal["A", "B", "C", "D", "N"]
Measure = Literal["max", "rms"]

MOST = 16  # the highest degree
C_OFFSET = 0.1  # version C's denominator never falls below it
POINTS = 12001  # errors are measured at as many, evenly spaced
SAMPLES = 801  # least squares look at as many
PENALTY = 100.0  # on a denominator of version N that comes near zero


@dataclass(frozen=True)
class Fit:
    """Coefficients a_0..a_m and b_1..b_n (version C: b_0..b_n), and how far they are from the function."""

    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    max_error: float
    at: float  # where in the interval the largest error is
    rms_error: float


def fit(
    target: Callable[[Array], Array],
    version: Version = "A",
    degrees: tuple[int, int] = (5, 4),
    interval: tuple[float, float] = (-3.0, 3.0),
    minimize: Measure = "max",
) -> Fit:
    """The rational function nearest to `target`, a map of (N,) to (N,), by its largest or its RMS error.

    It has no pole: in version N, nowhere on the real line, which keeps an odd n's last coefficient at zero. Raises
    ValueError for degrees outside of (0, 1) to (16, 16), an empty or infinite interval, and a target that is not
    finite in it.
    """
    low, high = interval
    if not (0 <= degrees[0] <= MOST and 1 <= degrees[1] <= MOST):
        raise ValueError(f"degrees {degrees} must be from (0, 1) to ({MOST}, {MOST})")
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"the range must go from a number to a larger one, not from {low:g} to {high:g}")
    x = np.linspace(low, high, POINTS)
    values = np.asarray(target(x), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"the function is not finite at x = {x[~np.isfinite(values)][0]:g}")
    width, height = max(abs(low), abs(high)), np.abs(values).max() or 1.0  # fitted in units of these

    def scaled(s: Array) -> Array:
        return np.asarray(target(s * width), dtype=np.float64) / height

    points, values = x / width, values / height
    best, best_error = None, np.inf
    for a, b in _candidates(scaled, version, degrees, points):
        if version == "N" and _has_pole(b):
            continue
        error = evaluate(version, a, b, points) - values
        size = float(np.abs(error).max() if minimize == "max" else np.sqrt(np.square(error).mean()))
        if size < best_error:
            best, best_error = (a, b, error), size
    if best is None:
        raise ValueError("no fit without a pole was found")
    a, b, error = best
    worst = int(np.abs(error).argmax())
    powers = np.arange(len(b)) + (version != "C")
    return Fit(
        tuple((height * a / width ** np.arange(len(a)) + 0.0).tolist()),  # + 0.0: no -0.0
        tuple((b / width**powers + 0.0).tolist()),
        float(height * abs(error[worst])),
        float(x[worst]),
        float(height * np.sqrt(np.square(error).mean())),
    )


def evaluate(version: Version, a: Array, b: Array, x: Array) -> Array:
    """P(x) / Q(x) at x (N,); version D without its noise."""
    return polyval(x, a) / _denominator(version, b, x)


def _denominator(version: Version, b: Array, x: Array) -> Array:
    if version == "A":
        return polyval(np.abs(x), np.r_[1.0, np.abs(b)])
    if version == "C":
        return C_OFFSET + np.abs(polyval(x, b))
    inner = polyval(x, np.r_[0.0, b])
    return 1 + (inner if version == "N" else np.abs(inner))


def _has_pole(b: Array) -> bool:
    roots = np.roots(np.trim_zeros(np.r_[1.0, b], "b")[::-1])
    return bool((np.abs(roots.imag) <= 1e-9 * np.abs(roots)).any())


def _candidates(
    target: Callable[[Array], Array], version: Version, degrees: tuple[int, int], points: Array
) -> Iterator[tuple[Array, Array]]:
    x = np.linspace(points[0], points[-1], SAMPLES)
    y = target(x)
    for sheet in _sheets(version, degrees):
        for a, b in (best_fit(sheet, target, points), _linearised(sheet, x, y)):
            a, b = _as_version(version, sheet, degrees[1], x, a, b)
            yield a, b
            yield _polished(version, sheet, x, y, a, b)


def _sheets(version: Version, degrees: tuple[int, int]) -> list[Sheet]:
    """The ways to write the version's denominator without an absolute value, as a linear function of coefficients."""
    m, n = degrees
    if version == "A":
        return [Sheet(m, n, "terms")]
    if version == "N":
        return [Sheet(m, n - n % 2, "line")]
    return [Sheet(m, n, "positive" if version == "C" else "sum"), Sheet(m, n, "odd sum")]


def _as_version(version: Version, sheet: Sheet, n: int, x: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """From a sheet's P and Q with Q(0) = 1 to the version's coefficients of the same function at x."""
    b = np.r_[b, np.zeros(n - len(b))]
    if version != "C":
        return a, b
    if sheet.kind == "odd sum":
        return C_OFFSET * a, C_OFFSET * np.r_[0.0, b]
    lowest = _denominator("N", b, x).min()
    up = max(1.0, C_OFFSET / max(lowest, 1e-6))
    return up * a, np.r_[up - C_OFFSET, up * b]


def _linearised(sheet: Sheet, x: Array, y: Array) -> tuple[Array, Array]:
    """P - y Q in least squares, weighted with the Q of the time before."""
    from scipy.optimize import lsq_linear

    above, below = sheet.above(x), sheet.below(x)
    lowest = np.r_[np.full(above.shape[1], -np.inf), sheet.lowest()]
    q = np.ones_like(x)
    solution = np.zeros(len(lowest))
    for _ in range(5):
        matrix = np.hstack([above, -y[:, None] * below]) / q[:, None]
        solution = lsq_linear(matrix, y / q, bounds=(lowest, np.inf)).x
        q = np.maximum(np.abs(1 + below @ solution[above.shape[1] :]), 0.05)
    return solution[: above.shape[1]], solution[above.shape[1] :]


def _polished(version: Version, sheet: Sheet, x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """The least-squares fit of the version's own formula that is reached from (a, b)."""
    from scipy.optimize import least_squares

    size = len(a)
    guards, floor = sheet.guards(x)

    def residuals(v: Array) -> Array:
        error = evaluate(version, v[:size], v[size:], x) - y
        if version != "N":
            return error
        return np.r_[error, PENALTY * np.minimum(0, guards @ np.r_[1.0, v[size : size + sheet.n]] - floor)]

    lowest = np.r_[np.full(size, -np.inf), np.full(len(b), 0.0 if version == "A" else -np.inf)]
    start = np.maximum(np.r_[a, b], lowest)
    with np.errstate(all="ignore"):
        found = least_squares(residuals, start, bounds=(lowest, np.inf), x_scale="jac", max_nfev=200).x
    return found[:size], found[size:]
