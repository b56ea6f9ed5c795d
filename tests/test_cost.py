"""The cost of an activation is counted by a stated convention, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.activations import Activation, available, create
from actbench.activations.cost import flops_per_element


def cost(function: Callable[..., Tensor], width: int | None = None, gated: bool = False) -> float:
    class Some(Activation):
        def compute(self, *inputs: Tensor) -> Tensor:
            return function(*inputs)

    Some.gated = gated
    return flops_per_element(Some(), width)


ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda x: x + 1, 1),
        (lambda x: x - x * x, 2),
        (lambda x: 1 - x, 1),
        (lambda x: 1 / x.abs(), 2),
        (lambda x: x / x.abs(), 2),
        (lambda x: x.clamp(min=0).sqrt(), 2),
        (lambda x: torch.maximum(x, -x), 2),
        (lambda x: x.exp() + x.erf() + x.tanh() + x.log1p() + x.expm1(), 9),
        (lambda x: torch.where(x > 0, x, 0.0), 2),
        (lambda x: torch.addcmul(x, x, x), 2),
        (lambda x: x.square() + x**3 + x**4 + x**7, 1 + 2 + 2 + 4 + 3),  # powers by repeated squaring
        (lambda x: x**2.5, 1),
        (lambda x: x + x.sum(-1, keepdim=True), 2),
        (lambda x: x @ torch.ones(256, 256), 512),
        (lambda x: (x[..., None] * torch.ones(5)).sum(-1), 10),
        (lambda x: (x + 1).float().clone().view(-1).contiguous().unbind()[0], 1),
    ],
)
def test_operations_count_by_the_convention(function: Callable[[Tensor], Tensor], count: float) -> None:
    assert cost(function, 256) == count


@pytest.mark.parametrize(
    ("fused", "parts"),
    [
        (torch.sigmoid, lambda x: 1 / (1 + (-x).exp())),
        (F.silu, lambda x: x * torch.sigmoid(x)),
        (F.gelu, lambda x: x * 0.5 * (1 + (x * 0.7).erf())),
        (F.mish, lambda x: x * F.softplus(x).tanh()),
        (F.softplus, lambda x: torch.where(x > 20, x, x.exp().log1p())),
        (lambda x: F.prelu(x, ONE), lambda x: torch.where(x > 0, x, 0.1 * x)),
    ],
)
def test_fused_functions_cost_what_they_are_made_of(fused: Callable[..., Tensor], parts: Callable[..., Tensor]) -> None:
    assert cost(fused) == cost(parts) > 1


def test_coefficients_cost_nothing_and_rows_hardly() -> None:
    few = torch.arange(6.0)
    assert cost(lambda x: x * few.abs().exp().sum()) == 1
    assert cost(lambda x: x * torch.ones_like(x).exp()) == 1  # as large as the input, but known before it
    by_row = [cost(lambda x: x * x.square().mean(-1, keepdim=True).rsqrt(), width) for width in (64, 4096)]
    assert by_row[0] > by_row[1] > 3 and by_row[0] < 3.05


def test_a_gated_function_is_counted_for_each_element_of_its_output() -> None:
    assert cost(lambda gate, value: gate * value, gated=True) == 1
    assert flops_per_element(create("swiglu")) == flops_per_element(create("silu")) + 1


def test_more_coefficients_cost_more_and_sharing_them_costs_the_same() -> None:
    orders = [flops_per_element(create("poly_relu", order=order)) for order in (2, 3, 4)]
    assert orders[1] - orders[0] == orders[2] - orders[1] == 2
    by_channel = create("swish_beta", sharing="channel", width=12)
    assert flops_per_element(by_channel) == flops_per_element(create("swish_beta"))


def test_every_activation_has_a_cost_and_the_same_each_time() -> None:
    costs = {name: flops_per_element(create(name)) for name in available()}
    assert costs == {name: flops_per_element(create(name)) for name in available()}
    assert min(costs.values()) >= 1 and costs["relu"] == 1
