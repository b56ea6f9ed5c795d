"""The linear layers of a block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """nn.Linear, its bias added after the matrix product.

    Written so, the compiler joins the addition to whatever comes next, and it is done in fp32. A CPU's matrix product
    with a bias first fills its output with the bias, one more pass through memory. Uncompiled, the bias takes the
    output's dtype first: sums of different dtypes are slow.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        y = F.linear(x, self.weight)
        if self.bias is None:
            return y
        return y.add_(self.bias if torch.compiler.is_compiling() else self.bias.to(y.dtype))
