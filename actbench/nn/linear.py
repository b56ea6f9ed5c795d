"""The linear layers of a block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """nn.Linear; compiled, its bias is added after the matrix product.

    Written so, the compiler joins the addition to whatever comes next, and it is done in fp32. A CPU's matrix product
    with a bias first fills its output with the bias, one more pass through memory; uncompiled, that pass is the
    cheaper one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if self.bias is None or not torch.compiler.is_compiling():
            return super().forward(x)
        return F.linear(x, self.weight).add_(self.bias)
