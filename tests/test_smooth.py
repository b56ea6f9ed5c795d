"""Swish-beta and xIELU: published values, definitions and starts."""

from __future__ import annotations

import math

import pytest
import torch
from activation_values import X, tensor, with_coefficients
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.activations import create

# xIELU (arXiv 2411.13010) in float64 at X with alpha_p = alpha_n = 0.8, beta = 0.5, eps = -1e-6, to ten digits.
XIELU = [-0.0917317734, -0.2056964471, -0.1647754722, -7.999996e-07, 0.45, 1.3, 4.2, 8.7]
P, N = math.log(math.expm1(0.8)), math.log(math.expm1(0.3))


def xielu(x: torch.Tensor, p: float, n: float) -> torch.Tensor:
    alpha_p, alpha_n = math.log1p(math.exp(p)), 0.5 + math.log1p(math.exp(n))
    below = alpha_n * (torch.expm1(x.clamp(max=-1e-6)) - x) + 0.5 * x
    return torch.where(x > 0, alpha_p * x**2 + 0.5 * x, below)


def test_xielu_has_the_published_values() -> None:
    found = with_coefficients("xielu", {"p": P, "n": N})(tensor(X))
    torch.testing.assert_close(found, tensor(XIELU), rtol=0, atol=1e-9)


def test_xielu_starts_at_the_papers_alphas() -> None:
    activation = create("xielu")
    assert (activation.p.item(), activation.n.item()) == pytest.approx((P, N), abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 30), st.floats(-5, 30))
def test_xielu_is_its_definition(p: float, n: float) -> None:
    x = torch.linspace(-20, 20, 401, dtype=torch.float64)
    torch.testing.assert_close(with_coefficients("xielu", {"p": p, "n": n})(x), xielu(x, p, n), rtol=1e-8, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5))
def test_swish_beta_is_its_definition(beta: float) -> None:
    x = torch.linspace(-20, 20, 401, dtype=torch.float64)
    found = with_coefficients("swish_beta", {"beta": beta})(x)
    torch.testing.assert_close(found, x / (1 + torch.exp(-beta * x)), rtol=1e-9, atol=1e-12)


def test_swish_beta_starts_as_silu() -> None:
    x = tensor(X)
    torch.testing.assert_close(create("swish_beta").double()(x), create("silu")(x))
