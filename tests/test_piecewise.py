"""Piecewise linear functions are their definitions, start as their papers do, and can learn from there."""

from __future__ import annotations

import pytest
import torch
from activation_values import X, inputs_of, tensor, with_coefficients
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.activations import create
from actbench.activations.piecewise import hinges_from
from actbench.errors import BadInput

GRID = torch.linspace(-4, 4, 161, dtype=torch.float64)
few = st.lists(st.floats(-3, 3), min_size=1, max_size=5)


def positive(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(min=0)


@settings(max_examples=30, deadline=None)
@given(st.floats(-2, 2))
def test_prelu_is_its_definition(slope: float) -> None:
    found = with_coefficients("prelu", {"slope": slope})(GRID)
    torch.testing.assert_close(found, positive(GRID) + slope * GRID.clamp(max=0))


@settings(max_examples=50, deadline=None)
@given(st.floats(-3, 3), st.floats(0, 3), st.floats(-2, 2), st.floats(-2, 2))
def test_srelu_is_its_definition(left: float, gap: float, left_slope: float, right_slope: float) -> None:
    right = left + gap
    activation = with_coefficients(
        "srelu", {"left": left, "left_slope": left_slope, "right": right, "right_slope": right_slope}
    )
    x = GRID
    below, above = left + left_slope * (x - left), right + right_slope * (x - right)
    expected = torch.where(x >= right, above, torch.where(x <= left, below, x))
    torch.testing.assert_close(activation(x), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(few, few)
def test_apl_is_its_definition(slopes: list[float], hinges: list[float]) -> None:
    pairs = list(zip(slopes, hinges, strict=False))
    slopes, hinges = ([pair[i] for pair in pairs] for i in (0, 1))
    activation = with_coefficients("apl", {"slopes": slopes, "hinges": hinges}, hinges=len(pairs))
    expected = positive(GRID) + sum(a * positive(b - GRID) for a, b in pairs)
    torch.testing.assert_close(activation(GRID), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(few, few, st.sets(st.floats(0.1, 3), max_size=4))
def test_splash_is_its_definition(right: list[float], left: list[float], places: set[float]) -> None:
    hinges = [0.0, *sorted(places)]
    right, left = ((side * 5)[: len(hinges)] for side in (right, left))
    activation = with_coefficients("splash", {"right": right, "left": left}, hinges=hinges)
    expected = sum(
        a * positive(GRID - b) + c * positive(-GRID - b) for a, c, b in zip(right, left, hinges, strict=True)
    )
    torch.testing.assert_close(activation(GRID), expected, rtol=1e-9, atol=1e-9)


def test_they_start_where_their_papers_do() -> None:
    x = tensor(X)
    starts = {name: create(name).double()(x) for name in ("prelu", "srelu", "apl", "splash")}
    torch.testing.assert_close(starts["prelu"], torch.where(x > 0, x, 0.25 * x))
    torch.testing.assert_close(starts["srelu"], torch.where(x > 0, x, 0.2 * x), rtol=0, atol=1e-8)
    assert torch.equal(starts["apl"], x.relu())
    assert torch.equal(starts["splash"], x.relu())
    assert create("splash").hinges == (0.0, 1.0, 2.0, 2.5)
    assert create("splash").right.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("name", ["prelu", "srelu", "apl", "splash"])
def test_after_one_step_every_coefficient_has_a_gradient(name: str) -> None:
    activation, (x,) = create(name), inputs_of(name, 16, 8)
    for _ in range(2):
        activation.zero_grad()
        (activation(x) - 1).square().mean().backward()
        with torch.no_grad():
            for parameter in activation.parameters():
                parameter -= 0.01 * parameter.grad
    for key, parameter in activation.named_parameters():
        assert (parameter.grad != 0).all(), key


def test_apls_hinges_start_apart_and_come_apart() -> None:
    assert create("apl").hinges.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert create("apl", hinges=1).hinges.tolist() == [0.0]
    activation, (x,) = create("apl"), inputs_of("apl", 16, 8)
    (activation(x) - 1).square().mean().backward()
    assert len(set(activation.slopes.grad.tolist())) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hinges": []}, "hinges must ascend from 0"),
        ({"hinges": [1.0, 2.0]}, "hinges must ascend from 0"),
        ({"hinges": [0.0, 2.0, 1.0]}, "hinges must ascend from 0, not [0.0, 2.0, 1.0]"),
        ({"hinges": [0.0, 1.0, 1.0]}, "hinges must ascend from 0"),
        ({"hinges": 3}, "splash.hinges"),
    ],
)
def test_splash_refuses_hinges_that_do_not_ascend_from_zero(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create("splash", **options)
    assert said in str(caught.value)


# Hinges from data.


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_as_many_inputs_lie_between_any_two_hinges(count: int) -> None:
    (x,) = inputs_of("splash", 700, 16)
    hinges = hinges_from(x, count)
    assert len(hinges) == count and hinges[0] == 0.0
    places = torch.bucketize(x.abs().double(), torch.tensor([*hinges, torch.inf], dtype=torch.float64), right=True)
    share = torch.bincount(places.flatten())[1:] / x.numel()
    torch.testing.assert_close(share, torch.full((count,), 1 / count), rtol=0, atol=1e-3)
    assert create("splash", hinges=hinges).hinges == tuple(hinges)


def test_hinges_from_few_numbers() -> None:
    assert hinges_from(torch.tensor([[-4.0, 3.0], [2.0, -1.0]]), 4) == [0.0, 2.0, 3.0, 4.0]
    assert hinges_from(torch.tensor([[-4.0, 3.0], [2.0, -1.0]]).bfloat16(), 2) == [0.0, 3.0]


@pytest.mark.parametrize(
    ("inputs", "count", "said"),
    [
        ([[1.0, torch.nan]], 2, "not finite"),
        ([[1.0, torch.inf]], 2, "not finite"),
        ([[1.0, -1.0, 1.0]], 3, "3 inputs have too few different sizes for 3 hinges"),
        ([[0.0, 0.0, 0.0, 1.0]], 3, "too few different sizes"),
        ([[]], 2, "0 inputs have too few"),
        ([[1.0]], 0, "count must be at least 1"),
    ],
)
def test_hinges_are_not_made_from_what_does_not_tell(inputs: list[list[float]], count: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hinges_from(torch.tensor(inputs), count)
