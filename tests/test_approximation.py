"""Slopes from synthetic power laws, known approximations, matched sizes, and that fits are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actbench.activations import available
from actbench.analysis import approximation
from actbench.analysis.approximation import (
    TARGETS,
    Fit,
    Kept,
    check_request,
    fits,
    kept,
    piecewise_bound,
    points,
    rates,
    slope_of,
    width_of,
)
from actbench.analysis.least_squares import Network, fit, predictions
from actbench.config.approximation import ApproximationSection
from actbench.errors import BadInput

SIZES = (16.0, 32.0, 64.0, 128.0)


def request(targets: list[str], activations: list[str], sizes: list[int], seeds: list[int] | None = None) -> Any:
    return ApproximationSection(targets=targets, activations=activations, sizes=sizes, seeds=seeds or [0])


def synthetic(size: int, errors: dict[int, float]) -> Fit:
    return Fit("square", "relu", size, size // 3, size, errors, errors)


def test_a_power_law_gives_its_slope() -> None:
    assert slope_of(SIZES, [7.0 * size**-2.5 for size in SIZES]) == pytest.approx(-2.5)


def test_what_is_the_optimisers_has_no_part_in_a_slope() -> None:
    assert slope_of(SIZES, [size**-3.0 for size in SIZES[:3]] + [9e-7]) == pytest.approx(-3)
    assert slope_of(SIZES, [0.1, 1e-7, 1e-8, 0.0]) is None


def test_the_interval_is_that_over_seeds() -> None:
    own = {0: -1.9, 1: -2.0, 2: -2.1}
    (rate,) = rates([synthetic(int(size), {s: size**slope for s, slope in own.items()}) for size in SIZES])
    assert rate.slopes == pytest.approx(own) and rate.exact_from is None
    assert rate.slope.mean == pytest.approx(-2)
    half = 4.302653 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom at 97.5 %, and the sd of the three
    assert rate.slope.interval == pytest.approx((-2 - half, -2 + half), rel=1e-5)


def test_from_which_size_a_target_is_exact() -> None:
    (rate,) = rates([synthetic(16, {0: 0.1, 1: 0.1, 2: 0.1}), synthetic(32, {0: 0.1, 1: 1e-13, 2: 1e-14})])
    assert rate.exact_from == 32 and list(rate.slopes) == [0]


def test_the_bound_of_piecewise_linear_functions_is_reached_by_the_best() -> None:
    """The best line on a piece touches x^2 - h^2 / 8 in its middle; np.interp through such points is that function."""
    for pieces in (1, 2, 5):
        knots = np.linspace(-1, 1, pieces + 1)
        bound = piecewise_bound(pieces)
        x = np.linspace(-1, 1, 10_001)
        best = np.interp(x, knots, knots**2 - bound)
        assert np.abs(best - x**2).max() == pytest.approx(bound, rel=1e-3)
        assert bound == pytest.approx((2 / pieces) ** 2 / 8)


@pytest.mark.parametrize(("activation", "dimensions"), [("relu", 1), ("poly_relu", 2), ("raf", 1), ("swiglu", 2)])
def test_networks_have_as_many_parameters_as_whole_units_allow(activation: str, dimensions: int) -> None:
    width = width_of(activation, 50, dimensions)
    assert (
        Network(activation, width, dimensions).parameters <= 50 < Network(activation, width + 1, dimensions).parameters
    )


def test_the_parameters_of_a_small_network() -> None:
    assert Network("relu", 3, 1).parameters == 3 + 3 + 3 + 1
    assert Network("poly_relu", 3, 2).parameters == 6 + 3 + 3 + 1 + 4
    assert Network("swiglu", 3, 1).parameters == 2 * (3 + 3) + 3 + 1


def test_starts_differ_in_the_activation_alone() -> None:
    relu, poly = Network("relu", 4, 2), Network("poly_relu", 4, 2)
    assert torch.equal(relu.start(3), poly.start(3)[: relu.parameters])
    assert not torch.equal(relu.start(3), relu.start(4))


def test_the_network_is_the_formula() -> None:
    network = Network("relu", 2, 1)
    parameters = torch.tensor([1.0, -1.0, 0.5, 0.25, 3.0, 5.0, 0.125], dtype=torch.float64)
    y = network.predict(parameters, torch.tensor([-0.25], dtype=torch.float64))
    assert y.item() == 3 * 0.25 + 5 * 0.5 + 0.125


@pytest.mark.parametrize("activation", available())
def test_every_activation_can_be_fitted(activation: str) -> None:
    network = Network(activation, 4, 1)
    x = points(1, 20)
    starts = torch.stack([network.start(0), network.start(1)])
    y = TARGETS["sine"].of(x)

    def losses(parameters: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [(torch.stack([network.predict(p, row) for row in x]) - y).square().mean() for p in parameters]
        )

    fitted = fit(network, starts, x, y, steps=4)
    assert (losses(fitted) <= losses(starts)).all() and (losses(fitted) < losses(starts)).any()


def test_a_poly_relu_network_of_two_units_is_the_square() -> None:
    """relu(x)^2 + relu(-x)^2 = x^2."""
    network, x = Network("poly_relu", 2, 1), points(1, 21)
    square = torch.tensor([1, -1, 0, 0, 1, 1, 0, 0, 1, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(predictions(network.predict)(square[None], x)[0], x[:, 0] ** 2, atol=1e-15, rtol=0)


def test_poly_relu_comes_near_the_square_and_relu_stays_above_its_bound(tmp_path: Path) -> None:
    found = list(fits(request(["square"], ["poly_relu", "relu"], [14, 20], [0, 1]), tmp_path, lambda _: None))
    near, (small, large) = found[:2], found[2:]
    assert min(min(one.largest.values()) for one in near) < piecewise_bound(small.width + 1) / 1000
    for one in (small, large):
        assert min(one.largest.values()) >= piecewise_bound(one.width + 1)
        assert all(one.rms[seed] <= one.largest[seed] for seed in one.rms)
    assert min(large.largest.values()) < min(small.largest.values()) < 0.05


def test_a_fit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = list(fits(request(["product"], ["relu"], [10], [0, 1]), tmp_path, said.append))
    monkeypatch.setattr(approximation, "_fit", None)
    assert list(fits(request(["product"], ["relu"], [10], [0, 1]), tmp_path, said.append)) == first
    assert len(said) == 1
    assert kept(request(["product"], ["relu"], [10, 12], [0, 1]), tmp_path) == Kept(tuple(first), asked=2)
    with pytest.raises(TypeError):
        list(fits(request(["product"], ["relu"], [10], [0, 2]), tmp_path, said.append))
    (path,) = (tmp_path / "approximation").iterdir()
    path.write_text("{}")
    with pytest.raises(BadInput, match=path.name):
        list(fits(request(["product"], ["relu"], [10], [0, 1]), tmp_path, said.append))


@pytest.mark.parametrize(
    ("targets", "activations", "sizes", "expected"),
    [
        (["squares"], ["relu"], [16, 32], "did you mean 'square'?"),
        (["square"], ["rleu"], [16, 32], "did you mean 'relu'?"),
        (["square"], ["relu"], [16, 16], "two sizes or more"),
        (["square"], ["raf"], [5, 64], "a network with raf has at least"),
    ],
)
def test_what_cannot_be_asked(targets: list[str], activations: list[str], sizes: list[int], expected: str) -> None:
    with pytest.raises(BadInput, match=expected.replace("?", r"\?")):
        check_request(request(targets, activations, sizes))
