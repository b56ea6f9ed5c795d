"""Sequences of different lengths without their padding: what works token by token sees the real tokens alone.

Only attention needs sequences side by side. To take padding away and to put it back are each a choice of rows, and the
backward pass of the other: attention masks padding out, so no gradient comes from there.

Shapes: B batch, T time, N real tokens of the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Padding(NamedTuple):
    """Where the real tokens of a padded batch stand.

    real: (B, T), True at real tokens. places: (N,), the place of each among the B * T. rows: (B, T), which of the N
    stands at a place; at padding, the first of them.
    """

    real: Tensor
    places: Tensor
    rows: Tensor

    @classmethod
    def of(cls, real: Tensor) -> Padding:
        """Of a batch with real tokens where `real` (B, T) is True."""
        flat = real.flatten()
        rows = torch.where(flat, flat.cumsum(0) - 1, 0)
        return cls(real, flat.nonzero()[:, 0], rows.view(real.shape))

    def remove(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...)."""
        return _Take.apply(x.flatten(0, 1), self.places, self.rows.flatten(), self.real.flatten())

    def restore(self, x: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...), something finite at padding. No gradient may come from there."""
        return _Take.apply(x, self.rows.flatten(), self.places, None).unflatten(0, self.rows.shape)


class _Take(torch.autograd.Function):
    """The rows `rows` of x. Its gradient: the rows `back` of the output's, or zero where `real` is not True."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, back: Tensor, real: Tensor | None) -> Tensor:
        ctx.save_for_backward(back, real)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        back, real = ctx.saved_tensors
        taken = grad.index_select(0, back)
        if real is not None:
            taken[~real] = 0
        return taken, None, None, None
