"""The class every activation derives from.

Shapes: F is the width an activation sees, (..., F) in and (..., F) out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn


class Activation(nn.Module):
    """An element-wise or row-wise function with, possibly, learnable coefficients.

    A subclass writes `compute`, once, in plain PyTorch; it always receives at least fp32, also inside bf16 autocast.
    Constructor keyword arguments are the activation's options in a recipe. Nothing here may draw random numbers.
    """

    name: ClassVar[str] = ""
    gated: ClassVar[bool] = False  # a gated activation's compute takes (gate, value), each (..., F)
    compute: Callable[..., Tensor]  # the function itself: (..., F) -> (..., F)
    native_low_precision: ClassVar[bool] = False  # True: torch's own kernel already computes in fp32 inside

    def forward(self, *inputs: Tensor) -> Tensor:
        """(..., F) -> (..., F) in the inputs' dtype; computed in fp32, or wider if the inputs are."""
        dtype = inputs[0].dtype
        if self.native_low_precision or dtype not in (torch.bfloat16, torch.float16):
            return self.compute(*inputs)
        with torch.autocast(inputs[0].device.type, enabled=False):
            return self.compute(*(x.float() for x in inputs)).to(dtype)

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The function's graph at the points `x`, for plotting.

        `x` is (N,). `inputs` (R, F) are rows that the activation really received; only a function that looks at the
        whole row (a normalisation) needs them.
        """
        return self.compute(x)
