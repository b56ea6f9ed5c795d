"""The cross-entropy that never holds all logits is the plain one, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.nn.loss import CrossEntropy

N, D, V = 75, 8, 50  # 32 rows at a time, and a remainder


def problem(bias: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(N, D, generator=generator), torch.randn(V, D, generator=generator)
    targets = torch.randint(0, V, (N,), generator=generator)
    return hidden, targets, weight, torch.randn(V, generator=generator) if bias else None


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_value_and_gradients_are_the_plain_ones(bias: bool, dtype: torch.dtype, tolerance: float) -> None:
    hidden, targets, weight, offset = problem(bias)
    leaves = [x.requires_grad_() for x in (hidden, weight, offset) if x is not None]
    expected = F.cross_entropy(F.linear(hidden, weight, offset), targets)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = CrossEntropy()(hidden, targets, weight, offset)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)
    for ours, plain in zip(
        torch.autograd.grad(3 * loss, leaves), torch.autograd.grad(3 * expected, leaves), strict=True
    ):
        assert (ours - plain).norm() <= tolerance * plain.norm()


def test_a_bias_gradient_is_no_sum_of_rounded_ones() -> None:
    """A row's gradients add up to nothing; rounded to bf16, those of the targets would all be wrong the same way."""
    hidden, targets, weight, offset = problem(bias=True)
    assert offset is not None
    with torch.autocast("cpu", torch.bfloat16):
        loss = CrossEntropy()(hidden, targets, weight, offset.requires_grad_())
    (gradient,) = torch.autograd.grad(loss, offset)
    assert gradient.abs().max() > 1e-3 and gradient.sum().abs() < 1e-6


def test_without_gradients_it_is_the_same() -> None:
    hidden, targets, weight, offset = problem(bias=True)
    with torch.no_grad():
        loss = CrossEntropy()(hidden, targets, weight, offset)
    torch.testing.assert_close(loss, F.cross_entropy(F.linear(hidden, weight, offset), targets))


@pytest.mark.parametrize("most", [4 * D * V, 10 * V, 1])
@pytest.mark.parametrize("gradients", [True, False])
def test_no_tensor_holds_all_logits(gradients: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = function(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.ndim == 2 and out.shape[1] == V and out.shape[0] != D:
                self.elements = max(self.elements, out.numel())
            return out

    monkeypatch.setattr("actbench.nn.loss.MOST", most)
    hidden, targets, weight, offset = problem(bias=True)
    hidden.requires_grad_(gradients)
    with Largest() as largest, torch.set_grad_enabled(gradients):
        CrossEntropy()(hidden, targets, weight, offset)
    assert 0 < largest.elements <= max(most, V)
