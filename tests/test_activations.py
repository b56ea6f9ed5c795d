"""What every activation of the catalogue keeps: precision, gradients, range, state, and what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import matplotlib.mathtext
import numpy as np
import pytest
import torch
from activation_values import inputs_of

from actbench.activations import Activation, ElementwiseActivation, available, blocks, create, get

NAMES = available()
WIDTH = 8
SHARINGS = [
    (name, options)
    for name in NAMES
    for options in ({}, *({"sharing": sharing} for sharing in (2, "channel")))
    if not options or issubclass(get(name), ElementwiseActivation)
]
INNER = [  # options under which an activation becomes another function
    ("gelu", {"approximate": "tanh"}),
    ("glu", {"inner": "raf"}),
    ("glu", {"inner": "poly_norm"}),
    ("polycom", {"inner": "silu", "kind": 2}),
    ("polycom", {"inner": "prelu", "inner_options": {"sharing": "channel"}}),
]


def moved(activation: Activation) -> Activation:
    """Away from its start, where some coefficients have no effect or, like one of RAF's, stand at a kink."""
    with torch.no_grad():
        for parameter in activation.parameters():
            parameter += 0.1 * torch.arange(1, parameter.numel() + 1).view_as(parameter).cos()
    return activation


def gradients(function: Any, activation: Activation, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = function(*leaves)
    upstream = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return [output, *torch.autograd.grad(output, [*leaves, *activation.parameters()], upstream, materialize_grads=True)]


# Precision.


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_low_precision_in_is_the_fp32_result_rounded(name: str, dtype: torch.dtype, autocast: bool) -> None:
    activation = create(name)
    low = inputs_of(name, 16, 32, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        got = activation(*low)
    assert got.dtype == dtype
    expected = activation(*(x.float() for x in low)).to(dtype)
    # torch's own kernels may round the other way, as its GELU does on some processors.
    rtol, atol = (torch.finfo(dtype).eps, 1e-6) if activation.native_low_precision else (0, 0)
    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_within_a_rounding_of_fp64(name: str) -> None:
    activation, low = create(name), inputs_of(name, 16, 32, dtype=torch.bfloat16)
    found = activation(*low).double()
    exact = activation.double()(*(x.double() for x in low))
    torch.testing.assert_close(found, exact, rtol=1.01 * 2**-8, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_fp32_in_fp32(name: str) -> None:
    activation, inputs = create(name), inputs_of(name, 16, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = activation(*inputs)
    assert got.dtype == torch.float32
    assert torch.equal(got, activation(*inputs))


def test_what_compute_sees_is_never_narrower_than_fp32() -> None:
    seen: list[torch.dtype] = []

    class Spy(Activation):
        def compute(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((x @ x.mT).dtype)  # a product that autocast would narrow
            return x

    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.bfloat16, torch.float16):
            assert Spy()(torch.ones(2, 2, dtype=dtype)).dtype == dtype
    assert seen == [torch.float32, torch.float32]


# Gradients.


@pytest.mark.parametrize(("name", "options"), [*SHARINGS, *INNER], ids=str)
def test_gradients_are_those_of_finite_differences(name: str, options: dict[str, Any]) -> None:
    activation = moved(create(name, width=4, **options).double())
    inputs = tuple(x.requires_grad_() for x in inputs_of(name, 3, 4, seed=2, dtype=torch.float64))
    parameters = tuple(activation.parameters())
    assert torch.autograd.gradcheck(lambda *x: activation.compute(*x[: len(inputs)]), (*inputs, *parameters))


@pytest.mark.parametrize(("name", "options"), [*SHARINGS, *INNER], ids=str)
def test_in_blocks_and_as_a_whole_are_one_function(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 64)  # the input below is two of them
    activation = moved(create(name, width=WIDTH, **options).double())
    inputs = inputs_of(name, 5, 3, WIDTH, dtype=torch.float64)
    for a, b in zip(
        gradients(activation, activation, inputs), gradients(activation.compute, activation, inputs), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# The compiler.


class All(torch.nn.Module):
    """Every activation at once: compiled together, they cost a few seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.every = torch.nn.ModuleDict({name: moved(create(name, width=WIDTH)) for name in NAMES})

    def forward(self, x: torch.Tensor, value: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: one(x, value) if one.gated else one(x) for name, one in self.every.items()}


@pytest.fixture(scope="module")
def compiled() -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    """Every activation's output, compiled and eager, with a nan in the last row."""
    every, x = All(), inputs_of("swiglu", 5, WIDTH)
    x[0][-1, 3] = torch.nan
    with torch.no_grad():
        outputs = torch.compile(every, fullgraph=True, dynamic=False)(*x), every(*x)
    yield outputs
    torch.compiler.reset()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_eager(name: str, compiled: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]) -> None:
    found, expected = (outputs[name] for outputs in compiled)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5, equal_nan=True)
    assert torch.isnan(found[-1, 3]) and torch.isfinite(found[:-1]).all()


def test_the_backward_pass_compiles_as_one_graph() -> None:
    every, inputs = All(), tuple(x.requires_grad_() for x in inputs_of("swiglu", 5, WIDTH))
    graph = torch.compile(every, fullgraph=True, dynamic=False, backend="aot_eager")

    def step(module: Any) -> list[torch.Tensor]:
        total = torch.stack([y.sum() for y in module(*inputs).values()]).sum()
        return list(torch.autograd.grad(total, [*inputs, *every.parameters()]))

    for a, b in zip(step(graph), step(every), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    torch.compiler.reset()


# The ends of the range.


@pytest.mark.parametrize("name", NAMES)
def test_far_out_values_and_gradients_are_finite(name: str) -> None:
    activation = create(name, width=WIDTH)
    inputs = inputs_of(name, 4, WIDTH)
    for x in inputs:
        x[0, 0], x[0, 1], x[1] = 1e4, -1e4, 0.0
    for found in gradients(activation, activation, inputs):
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_activation_hides_a_nan(name: str) -> None:
    activation = create(name, width=WIDTH)
    for i, x in enumerate(clean := inputs_of(name, 4, WIDTH)):
        x = x.clone()
        x[2, 3] = torch.nan
        got = activation(*clean[:i], x, *clean[i + 1 :])
        assert torch.isnan(got[2, 3])
        assert torch.isfinite(got[[0, 1, 3]]).all()


# Modules.


@pytest.mark.parametrize("name", NAMES)
def test_a_new_activation_draws_no_random_number(name: str) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()
    create(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_made_without_memory(name: str) -> None:
    with torch.device("meta"):
        activation = create(name, width=WIDTH)
    assert {parameter.device.type for parameter in activation.parameters()} <= {"meta"}
    activation.to_empty(device="cpu").load_state_dict(create(name).state_dict())
    inputs = inputs_of(name, 3, WIDTH)
    assert torch.equal(activation(*inputs), create(name)(*inputs))


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_round_trip(name: str) -> None:
    one, other = moved(create(name)), create(name)
    other.load_state_dict(one.state_dict())
    inputs = inputs_of(name, 16, 32)
    assert torch.equal(one(*inputs), other(*inputs))
    assert len(list(one.parameters())) == len(one.state_dict())


def test_the_learnable_ones_have_their_papers_number_of_scalars() -> None:
    counts = {name: sum(p.numel() for p in create(name).parameters()) for name in NAMES}
    assert {name: n for name, n in counts.items() if n} == {
        "apl": 10, "poly_norm": 4, "poly_norm_glu": 4, "poly_prelu": 5, "poly_relu": 4, "poly_relu_norm": 4,
        "polycom": 4, "prelu": 1, "raf": 10, "rbf": 15, "splash": 8, "srelu": 4, "swish_beta": 1, "xielu": 2,
    }  # fmt: skip


def test_only_apl_decays_by_default() -> None:
    assert {name: get(name).weight_decay for name in NAMES if get(name).weight_decay} == {"apl": 0.001}
    assert {get(name).lr_multiplier for name in NAMES} == {1.0}


# What it says of itself.


@pytest.mark.parametrize("name", NAMES)
def test_each_tells_its_formula_source_and_symbols(name: str) -> None:
    cls, activation = get(name), create(name)
    assert cls.__doc__ and not cls.__doc__.startswith(cls.__base__.__doc__)
    assert re.search(r"\b(19|20)\d\d\b", cls.source), "a source has a year"
    assert set(cls.symbols) == {parameter for parameter, _ in activation.named_parameters()}
    for latex in (cls.formula, *cls.symbols.values()):
        assert latex.isascii()
        matplotlib.mathtext.MathTextParser("path").parse(f"${latex}$")
