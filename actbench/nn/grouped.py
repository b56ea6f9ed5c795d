"""Matrix products of rows sorted by expert, each expert's rows with its own matrix.

An operation of its own for the compiler: how many rows an expert has changes with every batch, but no shape does.

A CPU's products in bf16 are made for each shape that they meet, which takes longer than a small product itself. So an
expert's product takes in as many of its neighbours' rows there as make the number round; what becomes of them is lost,
but for numbers that are not finite, as the loss is not either.

Shapes: R rows, E experts, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.nn.padding import ROUND

ALIGNED = 16  # bytes that torch's own kernel wants every row to be a multiple of


class ExpertLinear(nn.Module):
    """A linear layer without bias for each of E experts; `weight` is (E, O, I). Matrix products follow autocast."""

    def __init__(self, experts: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        """Rows (R, I) sorted by expert, those of expert e ending before `ends[e]` (E,), -> (R, O)."""
        weight: Tensor = self.weight
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
        product: Tensor = grouped_linear(x, weight, ends)
        return product


@torch.library.custom_op("actbench::grouped_linear", mutates_args=())
def grouped_linear(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """x (R, I), weight (E, O, I), ends (E,) -> (R, O)."""
    if _has_kernel(x, weight):
        return F.grouped_mm(x, weight.transpose(1, 2), offs=ends.int())
    y = x.new_empty(len(x), weight.shape[1])
    for expert, part in enumerate(_parts(x, ends)):
        part.multiply(x, weight[expert].t(), y)
    return y


@torch.library.custom_op("actbench::grouped_linear_gradients", mutates_args=())
def grouped_linear_gradients(grad: Tensor, x: Tensor, weight: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by x and weight, of grad (R, O)."""
    grad = grad.contiguous()
    if _has_kernel(x, weight):
        offsets = ends.int()
        by_weight = F.grouped_mm(grad.t(), x, offs=offsets)
        empty = ends.diff(prepend=ends.new_zeros(1)) == 0  # whose sums some GPUs leave unwritten: pytorch issue 172439
        return F.grouped_mm(grad, weight, offs=offsets), by_weight.masked_fill_(empty[:, None, None], 0.0)
    by_x, by_weight = torch.empty_like(x), torch.empty_like(weight)
    for expert, part in enumerate(_parts(x, ends)):
        part.multiply(grad, weight[expert], by_x)
        torch.mm(part.alone(grad).t(), x[part.taken], out=by_weight[expert])
    return by_x, by_weight


@grouped_linear.register_fake
def _(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[1])


@grouped_linear_gradients.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight)


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *grouped_linear_gradients(grad, *ctx.saved_tensors), None  # type: ignore[attr-defined]


grouped_linear.register_autograd(_backward, setup_context=_keep)


class _Part(NamedTuple):
    """An expert's rows, and those that its products take in, which are all of these and perhaps more."""

    own: slice
    taken: slice

    def multiply(self, x: Tensor, matrix: Tensor, y: Tensor) -> None:
        """Sets the own rows of y (R, O) to those of x (R, I) times `matrix`, and perhaps rows of later experts."""
        if self.taken.start == self.own.start:
            torch.mm(x[self.taken], matrix, out=y[self.taken])
        else:
            first = self.taken.start
            y[self.own] = torch.mm(x[self.taken], matrix)[self.own.start - first : self.own.stop - first]

    def alone(self, x: Tensor) -> Tensor:
        """Of x (R, I) the rows taken in, with zeros for those that are others'."""
        before, after = self.own.start - self.taken.start, self.taken.stop - self.own.stop
        return F.pad(x[self.own], (0, 0, before, after)) if before or after else x[self.own]


def _parts(x: Tensor, ends: Tensor) -> Iterator[_Part]:
    """Every expert's part of the rows x (R, I). More rows are taken from those after it, or at the end before it."""
    multiple = ROUND if x.device.type == "cpu" and x.dtype == torch.bfloat16 else 1
    for begin, end in pairwise([0, *ends.tolist()]):
        taken = min(-(-(end - begin) // multiple) * multiple, len(x))
        first = min(begin, len(x) - taken)
        yield _Part(slice(begin, end), slice(first, first + taken))


def _has_kernel(x: Tensor, weight: Tensor) -> bool:
    """Whether torch multiplies all experts' rows at once: in bf16 on a GPU, where a loop starts a kernel an expert."""
    aligned = all(size * x.element_size() % ALIGNED == 0 for size in weight.shape[1:])
    return x.is_cuda and x.dtype == torch.bfloat16 and aligned and hasattr(F, "grouped_mm")
