"""Fixed functions of one input, and gated ones of a gate and a value, equal their definitions."""

from __future__ import annotations

import pytest
import torch
from activation_values import inputs_of, tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.activations import create, get
from actbench.errors import BadInput

FIXED = {
    "relu": ({}, lambda x: x.clamp(min=0)),
    "leaky_relu": ({}, lambda x: x.clamp(min=0) + 0.01 * x.clamp(max=0)),
    "leaky_relu, slope": ({"slope": 0.3}, lambda x: x.clamp(min=0) + 0.3 * x.clamp(max=0)),
    "relu2": ({}, lambda x: x.clamp(min=0) ** 2),
    "leaky_relu2": ({}, lambda x: (x.clamp(min=0) + 0.5 * x.clamp(max=0)) ** 2),
    "leaky_relu2, slope": ({"slope": 0.1}, lambda x: (x.clamp(min=0) + 0.1 * x.clamp(max=0)) ** 2),
    "gelu": ({}, lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
    "gelu, tanh": (
        {"approximate": "tanh"},
        lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    ),
    "silu": ({}, lambda x: x / (1 + torch.exp(-x))),
    "mish": ({}, lambda x: x * torch.tanh(torch.log1p(torch.exp(x)))),
    "tanh": ({}, lambda x: (1 - torch.exp(-2 * x)) / (1 + torch.exp(-2 * x))),
    "sigmoid": ({}, lambda x: 1 / (1 + torch.exp(-x))),
}
GATES = {  # options, and the activation of one input that it puts on the gate
    "swiglu": ({}, "silu", {}),
    "geglu": ({}, "gelu", {}),
    "geglu, tanh": ({"approximate": "tanh"}, "gelu", {"approximate": "tanh"}),
    "reglu": ({}, "relu", {}),
    "glu": ({}, "sigmoid", {}),
    "glu, relu2": ({"inner": "relu2"}, "relu2", {}),
    "glu, leaky": ({"inner": "leaky_relu", "inner_options": {"slope": 0.5}}, "leaky_relu", {"slope": 0.5}),
    "glu, raf": ({"inner": "raf"}, "raf", {}),
    "glu, poly_norm": ({"inner": "poly_norm", "inner_options": {"norm": "l2"}}, "poly_norm", {"norm": "l2"}),
}
numbers = st.lists(st.floats(-30, 30), min_size=1, max_size=12)


@pytest.mark.parametrize("case", FIXED)
def test_fixed_functions_equal_their_definitions(case: str) -> None:
    options, definition = FIXED[case]
    x = torch.linspace(-8, 8, 201, dtype=torch.float64)
    torch.testing.assert_close(create(case.partition(",")[0], **options)(x), definition(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", GATES)
@settings(max_examples=20, deadline=None)
@given(gate=numbers, value=st.floats(-10, 10))
def test_gated_is_the_gates_function_times_the_value(case: str, gate: list[float], value: float) -> None:
    options, inner, inner_options = GATES[case]
    activation = create(case.partition(",")[0], **options).double()
    on_gate = create(inner, **inner_options).double()
    g = tensor([gate])
    v = value * torch.arange(1, 1 + len(gate), dtype=torch.float64)[None]
    torch.testing.assert_close(activation(g, v), on_gate(g) * v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(activation.curve(g[0], g), on_gate.curve(g[0], g))


def test_all_of_them_take_a_gate_and_a_value() -> None:
    assert all(get(case.partition(",")[0]).gated for case in GATES)
    assert not any(get(case.partition(",")[0]).gated for case in FIXED)


def test_a_learnable_gate_learns_and_shares_as_it_is_told() -> None:
    activation = create("glu", width=8, inner="prelu", inner_options={"sharing": 8})
    assert activation.inner.slope.shape == (8,)
    activation(*inputs_of("glu", 4, 8)).sum().backward()
    assert (activation.inner.slope.grad != 0).all()
    assert activation.symbols == {"inner.slope": "s"}
    assert create("glu", inner="poly_norm").whole_row and not create("glu").whole_row


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inner": "swiglu"}, "inner: 'swiglu' is gated"),
        ({"inner": "glu"}, "inner: 'glu' is gated"),
        ({"inner": "sigmoidd"}, "did you mean 'sigmoid'?"),
        ({"inner": "leaky_relu", "inner_options": {"slop": 1}}, "slop: unknown option (did you mean 'slope'?)"),
        ({"inner": "prelu", "inner_options": {"sharing": 3}}, "3 groups do not divide a width of 8"),
        ({"inner_options": 3}, "glu.inner_options"),
    ],
)
def test_glu_refuses_what_does_not_suit(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create("glu", width=8, **options)
    assert said in str(caught.value)
