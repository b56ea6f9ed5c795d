"""Element-wise functions of bf16 and fp16 without a compiler: there are 65536 inputs, so results are looked up.

A table holds the function, or its derivative, at every number of the input's dtype, in the order of their bits. For the
gradients of the coefficients it is enough to know the sum of the gradients from above over each of these numbers. So
the formula costs next to nothing, however long it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from actbench.activations.blocks import LOW_PRECISION, gradients, split

if TYPE_CHECKING:
    from actbench.activations.base import Activation

SIZE = 1 << 16
FEWEST = 4 * SIZE  # elements; to fill a table for fewer takes longer than to work out the function itself


def is_served(activation: Activation, x: Tensor) -> bool:
    """Whether an element alone decides the result, and x has enough of them in a dtype of two bytes, on a CPU."""
    many = x.dtype in LOW_PRECISION and x.numel() >= FEWEST
    return activation.element_alone and many and x.device.type == "cpu"


class ByTable(torch.autograd.Function):
    """compute, differentiable once."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, n_inputs: int, x: Tensor, *_: Tensor) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(x)
        table = activation.compute(_numbers(x.dtype)).to(x.dtype)
        output = torch.empty_like(x, memory_format=torch.contiguous_format)
        for out, at in split(output, x):
            torch.index_select(table, 0, _places(at), out=out.view(-1))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        numbers = _numbers(x.dtype)
        slopes = gradients(ctx.activation, [numbers], torch.ones_like(numbers))[0]
        by_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        sums = torch.zeros(SIZE, dtype=torch.float64)
        for out, given, at in split(by_x, grad, x):
            places, given = _places(at), given.float().reshape(-1)
            sums += torch.zeros(SIZE).scatter_add_(0, places, given)  # in fp32 for a block, which is fast
            out.view(-1).copy_(slopes.index_select(0, places).mul_(given))
        met = numbers.where(sums != 0, 0)  # elsewhere the function may be infinite, and zero times that is not zero
        return None, None, by_x, *gradients(ctx.activation, [met], sums.float())[1:]


def _numbers(dtype: torch.dtype) -> Tensor:
    """All numbers of a dtype of two bytes, (SIZE,), in fp32."""
    return torch.arange(SIZE, dtype=torch.int32).to(torch.uint16).view(dtype).float()


def _places(x: Tensor) -> Tensor:
    """Where the elements of x stand in a table, (N,)."""
    return x.reshape(-1).view(torch.uint16).long()
