"""The shape of a curve on [-3, 3]: checked against functions whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest

from actbench.analysis.curves import Grid
from actbench.analysis.shapes import REFERENCES, compared, distances, gap, shape

X = Grid().points()


def test_the_interval_has_both_its_ends() -> None:
    here = X[compared(X)]
    assert (len(here), here[0], here[-1]) == (601, pytest.approx(-3), pytest.approx(3))


def test_gelu_falls_to_its_one_turn_and_rises() -> None:
    found = shape(X, REFERENCES["gelu"](X))
    assert found.rises == pytest.approx((3 + 0.7518) / 6, abs=0.002)  # its minimum is at -0.7518
    assert found.rises + found.falls == pytest.approx(1)
    assert found.turns == 1
    assert (found.lowest, found.lowest_at) == (pytest.approx(-0.169971, abs=1e-5), pytest.approx(-0.75))
    assert found.nearest == "gelu"
    assert found.gaps["gelu"].max < 1e-12
    assert found.gaps["relu"].max == pytest.approx(0.169971, abs=1e-5)  # at GELU's minimum
    assert found.gaps["relu"].rms < found.gaps["relu"].max


@pytest.mark.parametrize(
    ("values", "rises", "falls", "turns"),
    [
        (np.maximum(X, 0), 0.5, 0.0, 0),
        (-2 * X, 0.0, 1.0, 0),
        (np.zeros_like(X), 0.0, 0.0, 0),
        (np.sin(2 * X), None, None, 4),
        (np.abs(X), 0.5, 0.5, 1),
    ],
    ids=["relu", "falling", "flat", "sine", "abs"],
)
def test_turns_are_counted(values: np.ndarray, rises: float | None, falls: float | None, turns: int) -> None:
    found = shape(X, values)
    assert found.turns == turns
    if rises is not None:
        assert (found.rises, found.falls) == (pytest.approx(rises, abs=0.002), pytest.approx(falls, abs=0.002))


def test_rounding_does_not_turn_a_curve() -> None:
    noise = 1e-7 * np.random.default_rng(0).standard_normal(len(X))
    found = shape(X, np.maximum(X, 0) + noise)
    assert (found.turns, found.falls) == (0, 0.0)


def test_what_lies_beyond_the_interval_does_not_count() -> None:
    wild = np.where(np.abs(X) > 3.005, 100.0 * np.sign(X) * -1, X)
    assert shape(X, wild) == shape(X, X)


def test_distances_are_root_mean_squares() -> None:
    curves = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    expected = [[0, 12.5**0.5, 0.5**0.5], [12.5**0.5, 0, 9**0.5], [0.5**0.5, 9**0.5, 0]]
    np.testing.assert_allclose(distances(curves), expected)
    found = gap(curves[0], curves[1])
    assert (found.rms, found.max) == (pytest.approx(12.5**0.5), 4.0)
