"""Running an activation without a compiler: over blocks that fit the processor's cache, keeping only the input.

PyTorch's autograd keeps every intermediate result of a formula and walks through memory once for each operation. Here
the forward pass keeps the input alone, and the backward pass works the formula out again, block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from actbench.activations.base import Activation

LOW_PRECISION = (torch.bfloat16, torch.float16)
BLOCK = 262144  # elements: 1 MiB in fp32. Larger, and they leave the caches; smaller, and calls cost more
GPU_BLOCK = 1 << 26  # elements: as many as fill a GPU, and no more, for what is worked out between has their size


def at_least_fp32(x: Tensor) -> Tensor:
    """fp32 for the narrower floats; others as they are."""
    return x.float() if x.dtype in LOW_PRECISION else x


def split(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of all tensors, about BLOCK elements at a time; on a GPU GPU_BLOCK."""
    width = tensors[0].shape[-1]
    size = BLOCK if tensors[0].device.type == "cpu" else GPU_BLOCK
    rows = max(1, size // max(1, width))
    return zip(*(x.reshape(-1, width).split(rows) for x in tensors), strict=True)


def gradients(activation: Activation, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
    """Of (compute * grad).sum(), by each input and each learnable parameter that is not frozen."""
    if activation.has_gradients() and activation.gradients is not None:
        if activation.element_alone:  # of one axis, for the dot products
            (x,) = inputs
            return activation.gradients([x.reshape(-1)], grad.reshape(-1))
        return activation.gradients(inputs, grad)
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        wanted = [*leaves, *(p for p in activation.parameters() if p.requires_grad)]
        return torch.autograd.grad(activation.compute(*leaves), wanted, grad, materialize_grads=True)


class InBlocks(torch.autograd.Function):
    """compute, differentiable once."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, n_inputs: int, *tensors: Tensor) -> Tensor:
        inputs = tensors[:n_inputs]
        ctx.activation, ctx.n_inputs = activation, n_inputs
        ctx.save_for_backward(*inputs)
        output = torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
        for out, *block in split(output, *inputs):
            out.copy_(activation.compute(*map(at_least_fp32, block)))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        outputs = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs]
        totals = [torch.zeros_like(p) for p in ctx.activation.parameters() if p.requires_grad]
        for block in split(grad, *outputs, *inputs):
            given, out, at = block[0], block[1 : 1 + ctx.n_inputs], block[1 + ctx.n_inputs :]
            found = gradients(ctx.activation, [at_least_fp32(x) for x in at], at_least_fp32(given))
            for target, value in zip(out, found, strict=False):
                target.copy_(value.view_as(target))
            for total, value in zip(totals, found[ctx.n_inputs :], strict=True):
                total.add_(value)
        return (None, None, *outputs, *totals)
