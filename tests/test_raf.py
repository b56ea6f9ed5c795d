"""RAF is its formula in every version, at every degree, and behaves far out, at zero and under the compiler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from raf_definition import VERSIONS, naive

from actbench.activations import Activation, blocks, create

SMALL = st.floats(-2, 2)


def exact(a: list[float], b: list[float], version: str = "A", **options: object) -> Activation:
    """In fp64 and with coefficients that are not rounded to fp32, in evaluation mode."""
    degrees = len(a) - 1, len(b) - (version == "C")
    module = create("raf", degrees=degrees, version=version, numerator=a, denominator=b, **options).double().eval()
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), (a, b), strict=True):
            parameter.copy_(torch.tensor(values, dtype=torch.float64))
    return module


@settings(max_examples=200, deadline=None)
@given(
    version=st.sampled_from(VERSIONS),
    a=st.lists(SMALL, min_size=1, max_size=8),
    b=st.lists(SMALL, min_size=2, max_size=8),
    x=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
)
def test_every_version_is_its_definition(version: str, a: list[float], b: list[float], x: list[float]) -> None:
    points = np.array(x)
    below = naive("N", [1.0], b, points) ** -1.0 if version == "N" else np.ones(1)
    assume(np.isfinite(below).all() and (np.abs(below) > 1e-3).all())  # away from poles
    expected = naive(version, a, b, points)
    got = exact(a, b, version)(torch.tensor(points)).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("outside", ["extrapolate", "linear"])
@pytest.mark.parametrize("version", VERSIONS)
def test_gradients_are_those_of_finite_differences(version: str, outside: str) -> None:
    b = [0.7, -0.4, 0.3, 0.1, 0.2][version != "C" :]
    for sharing in ("layer", 2, "channel"):
        module = exact([0.1, 0.8, -0.3, 0.2], b, version, outside=outside, range=(-1.0, 1.5))
        if sharing != "layer":
            shared = create("raf", degrees=(3, 4), version=version, outside=outside, range=(-1.0, 1.5),
                            sharing=sharing, width=4).double().eval()  # fmt: skip
            with torch.no_grad():
                for many, one in zip(shared.parameters(), module.parameters(), strict=True):
                    many.copy_(one + 0.1 * torch.arange(len(many))[:, None])
            module = shared
        x = torch.tensor([[-3.1, -0.7, 0.2, 1.4], [-1.3, 0.4, 0.9, 2.2]], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, *_, m=module: m(x), (x, *module.parameters()))


def test_channels_have_their_own_coefficients() -> None:
    module = create("raf", sharing="channel", width=3).double()
    with torch.no_grad():
        module.numerator[1] *= 2
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).view(4, 3)
    one = create("raf").double()(x)
    torch.testing.assert_close(module(x), one * torch.tensor([1.0, 2.0, 1.0]))


@pytest.mark.parametrize("version", ["A", "B", "N"])
def test_a_denominator_that_starts_at_one_moves(version: str) -> None:
    identity = exact([0.0, 1.0, 0.0], [0.0, 0.0], version)
    identity(torch.tensor([0.5, 2.0], dtype=torch.float64)).sum().backward()
    assert torch.equal(identity.denominator.grad, -torch.tensor([0.5**2 + 2**2, 0.5**3 + 2**3]).double())


# Outside.


@pytest.mark.parametrize("version", VERSIONS)
def test_linear_goes_on_with_the_tangents(version: str) -> None:
    a, b = [0.1, 0.8, -0.3, 0.2], [0.7, -0.4, 0.3][: 2 + (version == "C")]
    free, bounded = exact(a, b, version), exact(a, b, version, outside="linear", range=(-2.0, 1.0))
    for end, beyond in ((-2.0, -1.0), (1.0, 1.0)):
        x = torch.tensor([end], dtype=torch.float64, requires_grad=True)
        y = free(x)
        (slope,) = torch.autograd.grad(y, x)
        away = beyond * torch.tensor([1e-9, 0.5, 100.0], dtype=torch.float64)
        torch.testing.assert_close(bounded(x + away), y + slope * away, rtol=1e-12, atol=1e-12)
        x = (x.detach() + torch.tensor([-1e-7, 0, 1e-7], dtype=torch.float64)).requires_grad_()
        (slopes,) = torch.autograd.grad(bounded(x).sum(), x)
        torch.testing.assert_close(slopes, slope.expand(3), rtol=1e-5, atol=1e-6)
    inside = torch.linspace(-2, 1, 31, dtype=torch.float64)
    assert torch.equal(bounded(inside), free(inside))


@pytest.mark.parametrize("outside", ["extrapolate", "linear"])
@pytest.mark.parametrize("init", ["gelu", "relu", "silu", "tanh", "sigmoid"])
def test_fp32_is_right_far_out(init: str, outside: str) -> None:
    for x in (torch.tensor([50.0, 1234.5, 1e4]), torch.tensor([-50.0, -1234.5, -1e4])):
        found = []
        for dtype in (torch.float32, torch.float64):
            module, at = create("raf", init=init, outside=outside).to(dtype), x.to(dtype).requires_grad_()
            y = module(at)
            found.append((y, *torch.autograd.grad(y.sum(), (at, *module.parameters()))))
        for single, double in zip(*found, strict=True):
            torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5 * double.abs().max().item())
        torch.testing.assert_close(found[0][0].double(), found[1][0], rtol=1e-5, atol=0)


def test_low_degrees_go_on_to_where_fp32_ends() -> None:
    x = torch.tensor([-9e6, 9e6])
    found, expected = (create("raf").to(dtype)(x.to(dtype)) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("degrees", [(5, 4), (4, 5), (7, 6), (9, 8), (0, 12), (16, 1)])
def test_what_fp16_holds_gives_finite_numbers(degrees: tuple[int, int]) -> None:
    for version in VERSIONS:
        a, b = [0.5] * (degrees[0] + 1), [0.5] * (degrees[1] + (version == "C"))
        module = create("raf", degrees=degrees, version=version, numerator=a, denominator=b)
        x = torch.tensor([-65504.0, -6e3, 0.0, 6e3, 65504.0], requires_grad=True)
        if version == "N":
            x = x.detach().abs().requires_grad_()  # below zero it has a pole
        y = module(x)
        y.sum().backward()
        for values in (y, x.grad, *(parameter.grad for parameter in module.parameters())):
            assert torch.isfinite(values).all(), version


# Noise, and the compiler.


def test_version_d_is_noisy_in_training_alone() -> None:
    module, calm = create("raf", version="D").double(), create("raf", version="B").double()
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    assert torch.equal(module.eval()(x), calm(x))
    module.train()
    torch.manual_seed(5)
    first, second = module(x), module(x)
    torch.manual_seed(5)
    assert torch.equal(module(x), first)
    assert not torch.equal(first, second)
    at_zero = torch.stack([module(torch.zeros(1, dtype=torch.float64)) for _ in range(200)]) / calm.numerator[0]
    assert 0.9 <= at_zero.min() < 0.92 and 1.08 < at_zero.max() <= 1.1


def test_version_ds_noise_is_drawn_once_a_forward_pass_and_learned_through() -> None:
    module = create("raf", version="D").double()
    x = torch.full((3, blocks.BLOCK), 1.5, dtype=torch.float64)
    y = module(x)
    assert (y == y[0, 0]).all()
    y.sum().backward()
    homogeneous = (module.numerator * module.numerator.grad).sum()  # sum_i a_i dy/da_i = y, with one and the same noise
    torch.testing.assert_close(homogeneous, y.sum())


def test_making_version_d_draws_no_random_number() -> None:
    state = torch.get_rng_state()
    create("raf", version="D")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("outside", ["extrapolate", "linear"])
def test_the_compilers_way_gives_the_same_numbers(outside: str) -> None:
    module = create("raf", outside=outside)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.linspace(-5, 5, 24).view(4, 6)
    x[1, 0], x[2, 0], x[3, 3] = torch.nan, torch.inf, torch.nan  # the first of a row stands for it
    found = []
    for function in (module, compiled):
        at = x.clone().requires_grad_()
        y = function(at)
        finite = torch.isfinite(y)
        found.append((y, *torch.autograd.grad(y[0].sum(), (at, *module.parameters()))))
        assert finite.sum() >= 21
    for eager, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, eager, equal_nan=True, rtol=1e-5, atol=1e-6)
