"""The radial basis function: a sum of Gaussians, whichever way it is worked out, that starts as another activation."""

from __future__ import annotations

import pytest
import torch

from actbench.activations import create
from actbench.errors import BadInput

GRIDS = [{}, {"count": 5, "range": (-1.0, 1.0)}, {"count": 16}, {"count": 40, "range": (-8.0, 3.0)}, {"count": 300}]
FAR = torch.tensor([1e2, -1e2, 1e4, -1e4, 1e30, -1e30, 3e38, -3e38, torch.inf, -torch.inf], dtype=torch.float64)


def direct(x: torch.Tensor, weight: torch.Tensor, low: float = -5.0, high: float = 5.0) -> torch.Tensor:
    """The definition, Gaussian by Gaussian."""
    centres = torch.linspace(low, high, len(weight), dtype=torch.float64)
    spacing = centres[1] - centres[0]
    return (weight * torch.exp(-((x[:, None] - centres) ** 2) / (2 * spacing**2))).sum(-1)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 5e-6), (torch.float64, 1e-13)], ids=["fp32", "fp64"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_it_is_the_direct_sum_everywhere(
    options: dict[str, object], scale: float, dtype: torch.dtype, error: float
) -> None:
    """Values and gradients, relative to the largest: also where a power of the fast way is large or nothing."""
    activation = create("rbf", **options).to(dtype)
    with torch.no_grad():
        activation.weight.mul_(scale * torch.linspace(1, 3, len(activation.weight)).cos())  # of both signs
    weight = activation.weight.detach().double().requires_grad_()
    x = torch.linspace(-30, 30, 20001).to(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    y, expected = activation.compute(x), direct(exact, weight, *options.get("range", (-5.0, 5.0)))
    found_gradients = torch.autograd.grad(y.sum(), [x, activation.weight])
    expected_gradients = torch.autograd.grad(expected.sum(), [exact, weight])
    for a, b in zip((y, *found_gradients), (expected, *expected_gradients), strict=True):
        assert (a.double() - b).abs().max().item() <= error * b.abs().max().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beyond_the_grid_it_falls_to_exactly_zero(dtype: torch.dtype) -> None:
    activation, x = create("rbf").to(dtype), FAR.to(dtype).requires_grad_()
    y = activation.compute(x)
    y.sum().backward()
    assert (y == 0).all() and (x.grad == 0).all() and (activation.weight.grad == 0).all()


@pytest.mark.parametrize("init", ["gelu", "silu", "relu", "tanh", "mish"])
def test_it_starts_as_init_on_all_but_the_ends_of_the_grid(init: str) -> None:
    x = torch.linspace(-3.9, 3.9, 401, dtype=torch.float64)  # 1.5 spacings of 5/7 from the ends
    away = (create("rbf", init=init).double()(x) - create(init)(x)).abs().max().item()
    assert away < (0.12 if init == "relu" else 0.01)
    finer = (create("rbf", init=init, count=60).double()(x) - create(init)(x)).abs().max().item()
    assert finer < (0.03 if init == "relu" else 1e-3)


def test_the_start_is_the_best_in_least_squares() -> None:
    activation = create("rbf").double()
    x = torch.linspace(-5 + 1.5 * 10 / 14, 5 - 1.5 * 10 / 14, 2001, dtype=torch.float64)
    (activation(x) - create("gelu")(x)).square().mean().backward()
    assert activation.weight.grad.abs().max() < 1e-7
    assert torch.equal(create("rbf").weight, create("rbf").weight)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 4}, "rbf.count"),
        ({"count": 301}, "rbf.count"),
        ({"range": (1.0, 1.0)}, "range must ascend, not [1.0, 1.0]"),
        ({"range": (2.0, 1.0)}, "range must ascend"),
        ({"init": "prelu"}, "init: 'prelu' has coefficients of its own; it must be a fixed function"),
        ({"init": "swiglu"}, "init: 'swiglu' is gated"),
        ({"init": "gellu"}, "did you mean 'gelu'?"),
    ],
)
def test_it_refuses_what_does_not_suit(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create("rbf", **options)
    assert said in str(caught.value)
