"""The forward and backward pass of an activation alone, beside nn.GELU's."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from actbench import activations
from actbench.activations import Activation
from actbench.bench.activations.cells import FUNCTION_LIMITS, Cell
from actbench.bench.activations.request import DTYPES, learns
from actbench.bench.alternate import Comparison, Work, alternate
from actbench.training.hardware import compile_module


def compare(
    activation: nn.Module,
    *,
    shape: tuple[int, int] = (2048, 3072),
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
    rounds: int = 30,
    device: str = "cpu",
    against: nn.Module | None = None,
) -> Comparison:
    """Time and peak memory of forward and backward, beside those of `against` (nn.GELU) in the same rounds.

    The inputs are of `shape` (rows, F), standard normal; so is the gradient that comes from above. The backward pass
    gives the gradients of the inputs, two for a gated activation, and of the coefficients. The activation itself is
    left as it is: a copy is measured. Global random numbers are not touched.
    """
    sides = [copy.deepcopy(module).to(device) for module in (against or nn.GELU(), activation)]
    if compiled:
        torch.compiler.reset()  # graphs of earlier comparisons would count against the limit of recompiles
        for side in sides:
            compile_module(side)
    generator = torch.Generator().manual_seed(0)
    first, second, grad = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
    baseline, candidate = (_pass(side, (first, second) if _gated(side) else (first,), grad) for side in sides)
    return alternate(baseline, candidate, rounds=rounds, device=device)


def measure(name: str, shape: tuple[int, int], dtype: str, mode: str, *, rounds: int, device: str) -> Cell:
    """A registered activation, or one from a user's file, with its default options."""
    activation = activations.create(name, width=shape[1])
    comparison = compare(
        activation, shape=shape, dtype=DTYPES[dtype], compiled=mode == "compiled", rounds=rounds, device=device
    )
    limits = FUNCTION_LIMITS[mode] if has_target(activation) else None
    return Cell("function", name, "gelu", shape, dtype, mode, activation.gated, limits, comparison)


def has_target(activation: Activation) -> bool:
    """Targets are for functions that learn and, as GELU, have one input."""
    return learns(activation) and not activation.gated


def _gated(module: nn.Module) -> bool:
    return bool(getattr(module, "gated", False))


def _pass(module: nn.Module, inputs: Sequence[Tensor], grad: Tensor) -> Work:
    leaves = [x.detach().requires_grad_() for x in inputs]
    wanted = [*leaves, *(p for p in module.parameters() if p.requires_grad)]

    def work() -> None:
        torch.autograd.grad(module(*leaves), wanted, grad, allow_unused=True)

    return work
