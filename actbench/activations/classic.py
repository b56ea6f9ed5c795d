"""Fixed element-wise functions. torch's kernels for these compute in fp32 inside, whatever the dtype."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.activations.base import Activation
from actbench.activations.registry import register


@register("relu")
class ReLU(Activation):
    """max(0, x)."""

    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """max(0, x)."""
        return F.relu(x)


@register("gelu")
class GELU(Activation):
    """x Phi(x) (Hendrycks & Gimpel 2016, arXiv 1606.08415), exact or by its tanh approximation (GPT-2's)."""

    native_low_precision = True

    def __init__(self, approximate: Literal["none", "tanh"] = "none"):
        super().__init__()
        self.approximate = approximate

    def compute(self, x: Tensor) -> Tensor:
        """x Phi(x)."""
        return F.gelu(x, approximate=self.approximate)


@register("silu")
class SiLU(Activation):
    """x sigmoid(x) (Elfwing et al. 2018, arXiv 1702.03118)."""

    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """x sigmoid(x)."""
        return F.silu(x)


@register("tanh")
class Tanh(Activation):
    """tanh(x), BERT's choice in the pooler."""

    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """tanh(x)."""
        return torch.tanh(x)
