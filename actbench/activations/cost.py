"""What an activation costs: arithmetic operations for each element, counted while it computes.

The convention: an addition, multiplication, division, comparison, choice, maximum, absolute value, exponential,
logarithm, error function, hyperbolic tangent or root counts one for each element it gives; a sum or mean, one for each
element it takes; a whole power, the multiplications of repeated squaring; a matrix product, two for each
multiply-and-add. Fused functions (GELU, softplus, ...) count as what torch's decompositions make of them, whichever
kernels the machine has. Moving, converting and reshaping count nothing, nor does anything that does not depend on the
input, such as work on the few coefficients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from actbench.activations.base import Activation

ROWS, WIDTH = 2, 256  # enough that what counts once a row hardly shows

ONE = {"clamp", "clamp_max", "clamp_min", "relu", "rsub", "square", "where"}  # would else be taken apart
TWO = {"addcdiv", "addcmul", "lerp"}
FUSED = ["_log_softmax", "_softmax", "elu", "gelu", "leaky_relu", "linalg_vector_norm", "native_layer_norm", "sigmoid"]
MOVES = {"cat", "clone", "copy", "flip", "gather", "index", "index_select", "lift_fresh", "repeat", "stack", "to_copy"}
MAKES = {"empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"}


def flops_per_element(activation: Activation, width: int | None = None) -> float:
    """Arithmetic operations of one forward `compute`, for each element of its output.

    `width` is F; without it, the width the activation was made for, else 256. Only functions of a whole row depend on
    it, and hardly.
    """
    columns = width or getattr(activation, "width", None) or WIDTH
    x = torch.linspace(-2, 2, ROWS * columns).view(ROWS, columns)
    inputs = [x, x.flip(0)] if activation.gated else [x]
    with torch.enable_grad(), torch.autocast("cpu", enabled=False), _Counter(inputs) as counter:  # the plain formula
        activation.compute(*inputs)
    return counter.total / x.numel()


class _Counter(TorchDispatchMode):
    def __init__(self, inputs: Sequence[Tensor]):
        super().__init__()
        self.total = 0
        self.following = {id(x): x for x in inputs}  # what depends on the inputs; held, so that no id comes twice
        self.decompositions = _decompositions()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__.strip("_")
        from_inputs = [t for t in tree_leaves((args, kwargs)) if id(t) in self.following]
        rule = None if name in ONE | TWO else self.decompositions.get(func)
        if from_inputs and rule:
            with self:
                return rule(*args, **kwargs)
        result = func(*args, **kwargs)
        if from_inputs and name not in MAKES:
            outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            self.following.update((id(t), t) for t in outputs)
            if not func.is_view and name not in MOVES:
                self.total += _operations(func, name, args, kwargs, [*outputs, *from_inputs])
        return result


def _operations(func: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: list[Tensor]) -> int:
    """Of one call; `tensors` are its outputs, then those of its arguments that depend on the activation's inputs."""
    if func.overloadpacket in flop_registry:
        return int(flop_registry[func.overloadpacket](*args, **kwargs, out_val=tensors[0]))
    elements = max(t.numel() for t in tensors)
    number = args[1] if len(args) > 1 and isinstance(args[1], int | float) else None
    if name == "mul" and number == 1:
        return 0  # torch makes 1 / x a reciprocal times 1
    if name == "pow" and number is not None and number >= 1 and number == int(number):
        return elements * (int(number).bit_length() + int(number).bit_count() - 2)
    return elements * (2 if name in TWO else 1)


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    """What to take apart: all that torch itself takes apart, and the fused functions that it counts among the basic."""
    return {**core_aten_decompositions(), **get_decompositions([getattr(torch.ops.aten, name) for name in FUSED])}
