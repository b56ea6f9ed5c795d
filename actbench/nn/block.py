"""One Transformer block, for encoder and decoder alike.

Shapes: B batch, T time, N rows of a batch without its padding, M positions wanted, D model width.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from actbench.nn.attention import Attention, pick
from actbench.nn.dropout import Dropout
from actbench.nn.experts import MixtureOfExperts
from actbench.nn.feed_forward import FeedForward
from actbench.nn.padding import Padding

Placement = Literal["pre", "post", "deepnet"]


class Block(nn.Module):
    """Attention and feed-forward, each with a residual path and a norm.

    pre: x + f(norm(x)). post: norm(x + f(x)). deepnet: norm(x * (2N)^(1/4) + f(x)) for N layers
    (DeepNet's encoder, Wang et al. 2022, arXiv 2203.00555).
    """

    def __init__(
        self,
        attention: Attention,
        feed_forward: FeedForward | MixtureOfExperts,
        norms: tuple[nn.Module, nn.Module],
        *,
        placement: Placement,
        n_layers: int,
        dropout: float,
    ):
        super().__init__()
        self.attention, self.feed_forward = attention, feed_forward
        self.attention_norm, self.feed_forward_norm = norms
        self.attention_dropout, self.feed_forward_dropout = Dropout(dropout), Dropout(dropout)
        self.pre = placement == "pre"
        self.residual_scale = (2 * n_layers) ** 0.25 if placement == "deepnet" else 1.0

    def forward(
        self, x: Tensor, padding: Padding | None = None, at: Tensor | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, M, D) when only the positions `at` (B, M) are wanted.

        With `padding`, x is (N, D), its rows alone, and so is the result without `at`. `allowed` (B, T, T) says
        which tokens attend to which.
        """
        kept = x
        if at is not None:
            kept = pick(x, at) if padding is None else x[padding.starts[:, None] + at]
        heads = self.attention(self.attention_norm(x) if self.pre else x, padding, at, allowed)
        return self.by_token(kept, heads)

    def by_token(self, kept: Tensor, heads: Tensor) -> Tensor:
        """The hidden states and what the attention's heads gave, each (..., D) -> (..., D): all that comes after."""
        attended = self.attention_dropout(self.attention.output(heads))
        if self.pre:
            x = kept + attended
            return x + self.feed_forward_dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(kept * self.residual_scale + attended)
        return self.feed_forward_norm(x * self.residual_scale + self.feed_forward_dropout(self.feed_forward(x)))


def run(block: nn.Module, x: Tensor, *others: Any, anew: bool) -> Tensor:
    """block(x, *others). With `anew`, nothing of the block's inside is kept for the backward pass but what went in.

    What is random in it follows from a key, or from torch's generator, whose state is put back. So what is computed
    anew is the same to the last bit.
    """
    if anew and torch.is_grad_enabled():
        return checkpoint(block, x, *others, use_reentrant=False)
    return block(x, *others)
