"""How the result of an activation is worked out: with a compiler or without, and in which dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from actbench.activations.blocks import LOW_PRECISION, InBlocks, at_least_fp32
from actbench.activations.tables import ByTable, is_served

if TYPE_CHECKING:
    from actbench.activations.base import Activation


def run(activation: Activation, inputs: Sequence[Tensor]) -> Tensor:
    """(..., F) -> (..., F) in the inputs' dtype; computed in fp32, or wider if the inputs are."""
    x = inputs[0]
    function = _differentiated(activation, x)
    if function is None and (activation.native_low_precision or x.dtype not in LOW_PRECISION):
        return activation.compute(*inputs)
    with torch.autocast(x.device.type, enabled=False):
        if function is None:
            return activation.compute(*map(at_least_fp32, inputs)).to(x.dtype)
        learnable = (p for p in activation.parameters() if p.requires_grad)
        output: Tensor = function.apply(activation, len(inputs), *inputs, *learnable)
        return output


def _differentiated(activation: Activation, x: Tensor) -> type[torch.autograd.Function] | None:
    """What is faster than to leave the backward pass to autograd; functions of torch's own need nothing."""
    if torch.compiler.is_compiling():
        return _Compiled if activation.has_gradients() else None
    learns = next(activation.parameters(), None) is not None
    if x.device.type not in ("cpu", "cuda") or x.ndim == 0 or not learns or activation.draws:
        return None
    return ByTable if is_served(activation, x) else InBlocks


class _Compiled(torch.autograd.Function):
    """An activation with gradients derived by hand, for the compiler to make one loop of each pass."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:  # named, dynamo may take the first for the context
        activation, n_inputs, *tensors = arguments
        inputs = tensors[:n_inputs]
        ctx.activation = activation
        ctx.save_for_backward(*inputs)
        output: Tensor = activation.compute(*map(at_least_fp32, inputs))
        # A copy, which costs nothing once compiled: torch 2.11 loses every gradient of an output that an operation in
        # place, or a `to` with nothing to do, returned.
        return output.to(inputs[0].dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        inputs: Sequence[Tensor] = ctx.saved_tensors
        at = [at_least_fp32(x) for x in inputs]
        if not ctx.activation.whole_row:
            at = [x + _zero(x) for x in at]
        found = ctx.activation.gradients(at, at_least_fp32(grad))
        return None, None, *(g.to(x.dtype) for g, x in zip(found, inputs, strict=False)), *found[len(inputs) :]


def _zero(x: Tensor) -> Tensor:
    """Zeros, (..., 1), that seem to depend on x: the compiler then does not join the rows to one long loop over x.

    Only a loop over rows can also sum the coefficients' gradients, row by row.
    """
    first = x[..., :1]
    return (first > first).to(x.dtype)  # zero for nan and inf too
