"""Functions of two-byte inputs that are looked up: the same numbers as worked out, in value and in every gradient."""

from __future__ import annotations

import pytest
import torch
from activation_values import inputs_of

from actbench.activations import Activation, ElementwiseActivation, available, create, get, tables

ELEMENTWISE = [name for name in available() if issubclass(get(name), ElementwiseActivation) and not get(name).whole_row]
LOOKED_UP = [(name, {}) for name in ELEMENTWISE] + [("raf", {"outside": "linear"})]
WIDTH = 8


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "FEWEST", 1)


def results(activation: Activation, x: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradients by the input and by each coefficient."""
    x = x.detach().requires_grad_()
    output = activation(x)
    return [output, *torch.autograd.grad(output, [x, *activation.parameters()], grad, materialize_grads=True)]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "options"), LOOKED_UP, ids=str)
def test_looked_up_is_what_is_worked_out(name: str, options: dict[str, str], dtype: torch.dtype) -> None:
    activation = create(name, width=WIDTH, **options)
    if name == "polycom":
        activation = create(name, width=WIDTH, inner="silu")
    x = inputs_of(name, 5, 3, WIDTH, dtype=dtype)[0]
    x[0, 0, 0], x[0, 0, 1] = 0.0, -0.0
    grad = torch.linspace(-1, 1, x.numel()).view_as(x).to(dtype)
    assert tables.is_served(activation, x)
    found = results(activation, x, grad)
    exact = results(activation, x.float(), grad.float())  # too wide to be looked up
    assert torch.equal(found[0], exact[0].to(dtype))
    torch.testing.assert_close(found[1], exact[1].to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)
    for a, b in zip(found[2:], exact[2:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("always")
def test_nan_and_infinity_stay_and_spoil_nothing_else() -> None:
    activation = create("poly_relu")
    x = torch.tensor([[1.0, 2.0, torch.inf, torch.nan]], dtype=torch.bfloat16)
    output, by_x, by_weight, _ = results(activation, x, torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=torch.bfloat16))
    assert torch.equal(output[0, :2], activation(x.float())[0, :2].bfloat16())
    assert output[0, 2] == torch.inf and output[0, 3].isnan()
    assert by_x[0, :2].isfinite().all() and by_weight.isfinite().all()
    torch.testing.assert_close(by_weight, torch.tensor([3.0, 5.0, 9.0]))


@pytest.mark.usefixtures("always")
def test_what_needs_more_than_one_element_is_worked_out() -> None:
    x = torch.ones(2, WIDTH, dtype=torch.bfloat16)
    assert tables.is_served(create("raf", width=WIDTH), x)
    assert not tables.is_served(create("raf", width=WIDTH, sharing="channel"), x)
    assert not tables.is_served(create("polycom", width=WIDTH, inner="prelu", inner_options={"sharing": 2}), x)
    assert not tables.is_served(create("polycom", width=WIDTH), x)  # of the norm of a row
    for name in ("poly_norm", "poly_norm_glu"):
        assert not tables.is_served(create(name, width=WIDTH), x)
    assert not tables.is_served(create("raf", width=WIDTH), x.float())


def test_a_large_input_is_looked_up_in_parts_and_a_small_one_is_not() -> None:
    activation, x = create("raf"), inputs_of("raf", 3, tables.FEWEST // 2, dtype=torch.bfloat16)[0]
    assert not tables.is_served(activation, x[:1])
    grad = inputs_of("raf", *x.shape, seed=2, dtype=torch.bfloat16)[0]
    found, exact = results(activation, x, grad), results(activation, x.float(), grad.float())
    assert torch.equal(found[0], exact[0].bfloat16())
    torch.testing.assert_close(found[1], exact[1].bfloat16(), rtol=2**-7, atol=1e-6)
    for a, b in zip(found[2:], exact[2:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-2 * grad.abs().sum().sqrt().item())
