"""Gated functions: a feed-forward block gives them two projections of its input (Shazeer 2020, arXiv 2002.05202)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from actbench.activations.base import Activation
from actbench.activations.registry import register


@register("swiglu")
class SwiGLU(Activation):
    """silu(gate) * value, as in LLaMA."""

    gated = True

    def compute(self, gate: Tensor, value: Tensor) -> Tensor:
        """silu(gate) * value, each (..., F)."""
        return F.silu(gate) * value

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """What the gate multiplies a value of one by."""
        return F.silu(x)
