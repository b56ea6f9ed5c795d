"""Polynomial compositions of PolyCom (Zhuo et al., ICLR 2025, arXiv 2411.03884), coefficients a_1..a_r and a_0."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from actbench.activations.base import Activation
from actbench.activations.registry import register

Order = Annotated[int, Field(ge=1, le=16)]


class _PolyCom(Activation):
    """The learnable coefficients both forms share: a_i = 1/r for i >= 1 and a_0 = 0 at the start."""

    def __init__(self, order: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((order,), 1.0 / order))  # a_1 .. a_r
        self.bias = nn.Parameter(torch.zeros(()))  # a_0


@register("poly_relu")
class PolyReLU(_PolyCom):
    """a_r relu(x)^r + ... + a_1 relu(x) + a_0 (PolyCom, Eq. 2; r = 3 in the paper)."""

    def __init__(self, order: Order = 3):
        super().__init__(order)

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F), by Horner's rule in relu(x)."""
        positive = x.relu()
        total = torch.zeros_like(x)
        for a in reversed(self.weight.unbind()):
            total = (total + a) * positive
        return total + self.bias


@register("poly_norm")
class PolyNorm(_PolyCom):
    """a_r n(x^r) + ... + a_1 n(x) + a_0 with n(u) = u / sqrt(mean(u^2) + eps) over the last axis (PolyCom, Eq. 3).

    The paper writes an L2 norm, its released code divides by the RMS: `norm` chooses, RMS by default.
    """

    def __init__(self, order: Order = 3, norm: Literal["rms", "l2"] = "rms", eps: Annotated[float, Field(ge=0)] = 1e-6):
        super().__init__(order)
        self.norm, self.eps = norm, eps

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F); every power is normalised by its own row."""
        total, power = self.bias.expand_as(x), torch.ones_like(x)
        for a in self.weight.unbind():
            power = power * x
            total = total + a * power * self._scale(power)
        return total

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The graph at `x` (N,) when the norms are the mean ones of `inputs` (R, F), rows that the layer received."""
        total = self.bias.expand_as(x)
        for i, a in enumerate(self.weight.unbind(), start=1):
            total = total + a * x**i * self._scale(inputs**i).mean()
        return total

    def _scale(self, power: Tensor) -> Tensor:
        square = power.square()
        size = square.mean(-1, keepdim=True) if self.norm == "rms" else square.sum(-1, keepdim=True)
        return torch.rsqrt(size + self.eps)
