"""PolyReLU, PolyPReLU and PolyCom in general: the paper's values, and what they become in special cases."""

from __future__ import annotations

import pytest
import torch
from activation_values import X, inputs_of, polynomial, tensor, with_coefficients
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.activations import create
from actbench.errors import BadInput

THIRDS, UNEQUAL = [1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]

# Computed in float64 from the definition in PolyCom (arXiv 2411.03884). Weights are a_1, a_2, a_3.
VALUES = {  # weights, bias: values at X
    "thirds": (THIRDS, 0.0, [0, 0, 0, 0, 0.2916666666666667, 1, 4.666666666666667, 13]),
    "unequal": (UNEQUAL, 0.1, [0.1, 0.1, 0.1, 0.1, 0.3375, 1.1, 5.7, 16.9]),
}
# Of sum(UPSTREAM * f(X)) with weights of a third: to x, to a_1 a_2 a_3, to a_0.
UPSTREAM = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
TO_X = [0, 0, 0, 0, 0.5729166666666665, 1.5, 4.958333333333333, 11.333333333333334]
TO_WEIGHTS, TO_BIAS = [5.8125, 13.40625, 34.828125], 4.5

FORMS = ["poly_relu", "poly_prelu", "poly_norm", "poly_relu_norm", "poly_norm_glu", "polycom"]


@pytest.mark.parametrize("case", VALUES)
def test_poly_relu_has_the_papers_values(case: str) -> None:
    weights, bias, values = VALUES[case]
    torch.testing.assert_close(polynomial("poly_relu", weights, bias)(tensor(X)), tensor(values), rtol=0, atol=1e-9)


def test_poly_relu_has_the_papers_gradients() -> None:
    activation, x = polynomial("poly_relu", THIRDS), tensor(X).requires_grad_()
    (activation(x) * tensor(UPSTREAM)).sum().backward()
    torch.testing.assert_close(x.grad, tensor(TO_X), rtol=0, atol=1e-9)
    torch.testing.assert_close(activation.weight.grad, tensor(TO_WEIGHTS), rtol=0, atol=1e-9)
    torch.testing.assert_close(activation.bias.grad, tensor(TO_BIAS), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_all_start_at_one_over_the_order(name: str) -> None:
    assert create(name).weight.tolist() == pytest.approx([1 / 3] * 3)
    assert create(name, order=16).weight.tolist() == [1 / 16] * 16
    assert create(name).bias.item() == 0.0
    for order in (0, 17):
        with pytest.raises(BadInput, match=f"{name}.order"):
            create(name, order=order)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_poly_relu_of_order_one_is_relu(values: list[float]) -> None:
    x = tensor(values)
    assert torch.equal(create("poly_relu", order=1).double()(x), x.relu())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_squares_and_cubes_of_relu_compose_to_those_of_x(values: list[float]) -> None:
    x = tensor(values)
    square, cube = polynomial("poly_relu", [0, 1]), polynomial("poly_relu", [0, 0, 1])
    torch.testing.assert_close(square(x) + square(-x), x**2)
    torch.testing.assert_close(cube(x) - cube(-x), x**3)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-2, 2), min_size=1, max_size=6),
    st.floats(-1, 1),
    st.floats(-1, 2),
    st.lists(st.floats(-5, 5), min_size=1, max_size=8),
)
def test_poly_prelu_is_its_definition(weights: list[float], bias: float, slope: float, values: list[float]) -> None:
    x = tensor(values)
    activation = with_coefficients("poly_prelu", {"weight": weights, "bias": bias, "slope": slope}, order=len(weights))
    inner = x.clamp(min=0) + slope * x.clamp(max=0)
    expected = bias + sum(a * inner**i for i, a in enumerate(weights, start=1))
    torch.testing.assert_close(activation(x), expected, rtol=1e-9, atol=1e-9)


def test_poly_prelu_starts_at_a_slope_of_a_quarter() -> None:
    assert create("poly_prelu").slope.item() == 0.25
    without = with_coefficients("poly_prelu", {"weight": UNEQUAL, "bias": 0.1, "slope": 0.0})
    torch.testing.assert_close(without(tensor(X)), polynomial("poly_relu", UNEQUAL, 0.1)(tensor(X)))


@pytest.mark.parametrize(
    ("options", "same", "same_options"),
    [
        ({"kind": 1, "inner": "relu"}, "poly_relu", {}),
        ({"kind": 1, "inner": "prelu"}, "poly_prelu", {}),
        ({"kind": 2, "inner": "norm"}, "poly_norm", {}),
        ({"kind": 2, "inner": "norm", "inner_options": {"norm": "l2", "eps": 1e-3}}, "poly_norm",
         {"norm": "l2", "eps": 1e-3}),
    ],
    ids=["relu", "prelu", "norm", "l2 norm"],
)  # fmt: skip
@pytest.mark.parametrize("order", [1, 3, 5])
def test_the_named_forms_are_polycoms(
    options: dict[str, object], same: str, same_options: dict[str, object], order: int
) -> None:
    weights = torch.linspace(0.6, -0.2, order).tolist()
    general, named = (polynomial(*form, 0.1, **o) for form, o in (
        (("polycom", weights), options), ((same, weights), same_options),
    ))  # fmt: skip
    (x,) = inputs_of(same, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(general(x), named(x))
    torch.testing.assert_close(general.curve(x[0], x), named.curve(x[0], x))


def rms(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize(
    ("inner", "rho"),
    [("norm", rms), ("silu", lambda x: x * torch.sigmoid(x)), ("sigmoid", torch.sigmoid), ("relu", torch.relu)],
    ids=["norm", "silu", "sigmoid", "relu"],
)
@pytest.mark.parametrize("kind", [1, 2])
def test_polycom_is_its_definition(kind: int, inner: str, rho) -> None:
    activation = polynomial("polycom", UNEQUAL, 0.1, kind=kind, inner=inner)
    (x,) = inputs_of("polycom", 4, 8, dtype=torch.float64)
    terms = (a * (rho(x) ** i if kind == 1 else rho(x**i)) for i, a in enumerate(UNEQUAL, start=1))
    torch.testing.assert_close(activation(x), 0.1 + sum(terms), rtol=1e-12, atol=1e-12)
    assert activation.whole_row == (inner == "norm")
    torch.testing.assert_close(activation.curve(x[0], x[:1]), activation(x)[0])


def test_polycom_learns_its_inner_function_and_knows_its_symbols() -> None:
    activation = create("polycom", inner="prelu")
    activation(*inputs_of("polycom", 2, 4)).sum().backward()
    assert activation.inner.slope.grad.item() != 0
    assert activation.symbols["inner.slope"] == "s"
    assert set(activation.symbols) == {name for name, _ in activation.named_parameters()}


@pytest.mark.parametrize("kind", [1, 2])
def test_polycoms_curve_is_the_mean_over_the_channels(kind: int) -> None:
    options = {"sharing": "channel", "kind": kind, "inner": "prelu", "inner_options": {"sharing": 2}}
    activation = create("polycom", width=4, **options).double()
    with torch.no_grad():
        activation.weight.copy_(torch.arange(12).view(4, 3) / 10)
        activation.inner.slope.copy_(tensor([0.1, 0.9]))
    x = tensor(X)
    by_channel = torch.stack([activation(x[:, None].expand(-1, 4))[:, c] for c in range(4)])
    torch.testing.assert_close(activation.curve(x, x[None]), by_channel.mean(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": 3}, "polycom.kind: input should be 1 or 2, not 3"),
        ({"inner": "rleu"}, "inner: unknown activation 'rleu' (did you mean 'relu'?)"),
        ({"inner": "swiglu"}, "inner: 'swiglu' is gated; it must be a function of one input"),
        ({"inner_options": {"epz": 1}}, "inner_options.epz: unknown option (did you mean 'eps'?)"),
        ({"inner_options": {"norm": "l1"}}, "inner_options.norm: input should be 'rms' or 'l2', not 'l1'"),
        ({"inner": "leaky_relu", "inner_options": {"slop": 1}}, "leaky_relu.slop: unknown option"),
    ],
)
def test_polycom_refuses_what_does_not_suit(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create("polycom", **options)
    assert said in str(caught.value)
