"""PolyNorm and its relatives: the paper's values, every row by itself, and rows of any size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from activation_values import X, inputs_of, polynomial, tensor

from actbench.activations import create, get

THIRDS, UNEQUAL = [1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]

# Computed in float64 from the definitions in PolyCom (arXiv 2411.03884) and its released code. Weights are
# a_1, a_2, a_3; the unequal ones betray a swap.
VALUES = {  # options, weights, bias: values at X
    "by RMS, thirds": (
        {}, THIRDS, 0.0,
        [-0.33287087095083545, -0.15780215426573033, -0.08880562337200938, 0,
         0.13274044893342993, 0.3335414565114125, 1.0358280799335642, 2.2998657349315117],
    ),
    "by RMS, unequal": (
        {}, UNEQUAL, 0.1,
        [-0.22588597882116038, 0.002728723077655565, 0.04968798984853763, 0.1,
         0.18985335315674087, 0.3554366489434584, 1.0585474669056163, 2.4988412508840585],
    ),
    "by L2, thirds": (
        {"norm": "l2", "eps": 0.0}, THIRDS, 0.0,
        [-0.1176876521286948, -0.05579150114125009, -0.031397536725754516, 0,
         0.04693084380782106, 0.11792472946951627, 0.36622056544175957, 0.8131253860911908],
    ),
}  # fmt: skip
# Of sum(UPSTREAM * f(X)) with weights of a third: to x, to a_1 a_2 a_3, to a_0.
UPSTREAM = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
TO_X = [
    0.4377931506148859, 0.1151998196492374, 0.08705352439655784, 0.1067520806388643,
    0.17254378274501314, 0.2826769250838608, 0.42533169336147975, -0.06176622234635487,
]  # fmt: skip
TO_WEIGHTS, TO_BIAS = [3.2826264796450775, 3.756427585501456, 3.2358639497750956], 4.5

NORMS = [{}, {"eps": 0.0}, {"norm": "l2"}, {"norm": "l2", "eps": 0.0}, {"eps": 0.5}, {"eps": 1e-30}]
ORDERS = [1, 2, 3, 4, 7, 16]


def definition(
    x: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | float = 0.0, norm: str = "rms", eps: float = 1e-6
) -> torch.Tensor:
    """The paper's formula, term by term; only fp64 holds its powers."""
    total = bias + torch.zeros_like(x)
    for i, a in enumerate(weights, start=1):
        square = (x**i).square()
        size = square.mean(-1, keepdim=True) if norm == "rms" else square.sum(-1, keepdim=True)
        total = total + a * x**i / (size + eps).sqrt()
    return total


def assert_is(found: Callable[..., torch.Tensor], expected: Callable[..., torch.Tensor], x: torch.Tensor) -> None:
    """Both in fp64, with their gradients by x."""
    x = x.double().requires_grad_()
    upstream = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).view_as(x)
    for a, b in zip((found(x), _slope(found, x, upstream)), (expected(x), _slope(expected, x, upstream)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * b.abs().max().item())


def _slope(function: Callable[..., torch.Tensor], x: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(function(x), x, upstream)[0]


@pytest.mark.parametrize("case", VALUES)
def test_it_has_the_papers_values(case: str) -> None:
    options, weights, bias, values = VALUES[case]
    found = polynomial("poly_norm", weights, bias, **options)(tensor(X))
    torch.testing.assert_close(found, tensor(values), rtol=0, atol=1e-9)


def test_it_has_the_papers_gradients() -> None:
    activation, x = polynomial("poly_norm", THIRDS), tensor(X).requires_grad_()
    (activation(x) * tensor(UPSTREAM)).sum().backward()
    torch.testing.assert_close(x.grad, tensor(TO_X), rtol=0, atol=1e-9)
    torch.testing.assert_close(activation.weight.grad, tensor(TO_WEIGHTS), rtol=0, atol=1e-9)
    torch.testing.assert_close(activation.bias.grad, tensor(TO_BIAS), rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", NORMS, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_and_norm_is_its_definition(order: int, options: dict[str, object]) -> None:
    weights = torch.linspace(0.5, -0.3, order, dtype=torch.float64)
    activation = polynomial("poly_norm", weights.tolist(), 0.2, **options)
    (x,) = inputs_of("poly_norm", 4, 8, dtype=torch.float64)
    assert_is(activation.compute, lambda x: definition(x, weights, 0.2, **options), x)


@pytest.mark.parametrize("size", [65504.0, 1e4, 1.0, 1e-4], ids=lambda size: f"{size:g}")
@pytest.mark.parametrize("order", ORDERS)
def test_rows_as_large_as_fp16_can_hold_keep_fp32s_precision(order: int, size: float) -> None:
    """Also the gradients: of x^6 at 65504, the cube of the reciprocal root is beneath fp32."""
    activation = create("poly_norm", order=order)
    x = size * torch.linspace(-1, 1, 24).view(3, 8).sin()
    exact = x.double().requires_grad_()
    expected = definition(exact, torch.full((order,), 1 / order))
    x.requires_grad_()
    upstream = torch.linspace(0.5, 1.5, 24).view(3, 8)
    found = activation(x)
    for a, b in (
        (found, expected),
        (torch.autograd.grad(found, x, upstream)[0], torch.autograd.grad(expected, exact, upstream.double())[0]),
    ):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-5 * b.abs().max().item())


@pytest.mark.parametrize(("order", "size"), [(3, 5e5), (4, 1e37), (16, 1e37)])
def test_beyond_fp16_no_power_is_lost(order: int, size: float) -> None:
    x = size * torch.linspace(-1, 1, 4096)
    expected = definition(x.double() / size, torch.full((order,), 1 / order), eps=0.0)
    torch.testing.assert_close(create("poly_norm", order=order)(x).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1e-12, 1e-30])
def test_without_eps_small_rows_are_normalised_too(size: float) -> None:
    activation, x = create("poly_norm", eps=0.0), torch.linspace(-1, 1, 8)
    torch.testing.assert_close(activation(size * x), activation(x), rtol=1e-5, atol=1e-6)


def test_a_small_row_beside_a_large_one_loses_nothing() -> None:
    activation, x = create("poly_norm", order=4, eps=0.0), torch.linspace(-1, 1, 8)
    torch.testing.assert_close(activation(torch.stack([1e4 * x, 1e-3 * x]))[1], activation(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("order", [1, 3, 5])
@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize("name", ["poly_norm", "poly_relu_norm"])
def test_a_row_of_zeros_gives_a_0_and_finite_gradients(name: str, eps: float, order: int, dtype: torch.dtype) -> None:
    activation = create(name, order=order, eps=eps)
    with torch.no_grad():
        activation.bias.fill_(0.5)
    x = torch.zeros(2, 8, dtype=dtype)
    x[1] = torch.linspace(-1, 1, 8)
    x.requires_grad_()
    y = activation(x)
    y.sum().backward()
    assert (y[0] == 0.5).all()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in activation.parameters())
    if eps == 0:
        assert (x.grad[0] == 0).all()


def test_every_row_is_normalised_by_itself() -> None:
    activation, (x,) = create("poly_norm").double(), inputs_of("poly_norm", 3, 5, 8, dtype=torch.float64)
    rows = torch.stack([activation(row) for row in x.flatten(0, 1)]).view_as(x)
    torch.testing.assert_close(activation(x), rows)
    torch.testing.assert_close(activation(7 * x), activation(x), rtol=0, atol=1e-4)  # scale is lost


@pytest.mark.parametrize("name", ["poly_norm", "poly_relu_norm", "poly_norm_glu", "polycom"])
def test_a_part_of_a_row_is_refused(name: str) -> None:
    whole = create(name, width=16)
    assert whole(*inputs_of(name, 2, 16)).shape == (2, 16)
    with pytest.raises(ValueError, match="rows of 16, but was given 8 columns: a part of a row has another norm"):
        whole(*inputs_of(name, 2, 8))


def test_poly_relu_norm_is_poly_norm_of_the_positive_part() -> None:
    activation = polynomial("poly_relu_norm", UNEQUAL, 0.1)
    (x,) = inputs_of("poly_relu_norm", 4, 8, dtype=torch.float64)
    assert_is(activation.compute, lambda x: definition(x.relu(), tensor(UNEQUAL), 0.1), x)
    torch.testing.assert_close(activation.curve(x[0], x[:1]), activation(x)[0])


def test_poly_norm_glu_is_poly_norm_times_the_value() -> None:
    activation = polynomial("poly_norm_glu", UNEQUAL, 0.1)
    gate, value = inputs_of("poly_norm_glu", 4, 8, dtype=torch.float64)
    expected = definition(gate, tensor(UNEQUAL), 0.1) * value
    torch.testing.assert_close(activation(gate, value), expected, rtol=1e-12, atol=1e-12)
    one_row = polynomial("poly_norm", UNEQUAL, 0.1)(gate[:1])
    torch.testing.assert_close(activation.curve(gate[0], gate[:1]), one_row[0])
    assert get("poly_norm_glu").gated


@pytest.mark.parametrize("options", [{}, {"order": 5}, {"norm": "l2"}], ids=str)
def test_its_curve_uses_the_norms_of_what_the_layer_receives(options: dict[str, object]) -> None:
    activation, inputs = create("poly_norm", **options).double(), inputs_of("poly_norm", 64, dtype=torch.float64)[0]
    torch.testing.assert_close(activation.curve(inputs[:5], inputs), activation(inputs)[:5])


def test_its_curve_holds_far_powers() -> None:
    activation, inputs = create("poly_norm", order=16), 1e4 * torch.linspace(-1, 1, 16)[None]
    torch.testing.assert_close(activation.curve(inputs[0], inputs), activation(inputs)[0])
