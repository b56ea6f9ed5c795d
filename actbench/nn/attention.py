"""Multi-head self-attention. The one place that decides how attention is computed.

Shapes: B batch, T time, M positions that attend, H heads, C width of a head, D = H * C model width; K width of all
keys, and of all values. Of batches without their padding: N rows; G sequences of a group, n their rows, S what they are
padded to; W = G * H * M rows of attention weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.nn.dropout import Dropout
from actbench.nn.linear import Linear
from actbench.nn.padding import Group, Padding, Weights


class Attention(nn.Module):
    """Self-attention over (B, T, D), causal or not, with rotary positions when `rotary` is given.

    With fewer `n_kv_heads`, each head of keys and values serves as many heads of queries (Ainslie et al. 2023, arXiv
    2305.13245). With `qk_norm_eps`, queries and keys are normalised, each over its whole width, before they are split
    into heads, as in OLMoE (Muennighoff et al. 2024, arXiv 2409.02060).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        causal: bool,
        bias: bool,
        dropout: float,
        rotary: Rotary | None,
        n_kv_heads: int | None = None,
        qk_norm_eps: float | None = None,
    ):
        super().__init__()
        self.n_heads, self.causal = n_heads, causal
        self.sharing = n_heads // (n_kv_heads or n_heads)  # queries' heads to one of keys and values
        shared = d_model // self.sharing
        self.widths = (d_model, shared, shared)
        self.qkv = Linear(d_model, sum(self.widths), bias=bias)
        self.query_norm = None if qk_norm_eps is None else nn.RMSNorm(d_model, eps=qk_norm_eps)
        self.key_norm = None if qk_norm_eps is None else nn.RMSNorm(shared, eps=qk_norm_eps)
        self.output = Linear(d_model, d_model, bias=bias)
        self.dropout = Dropout(dropout)
        self.rotary = rotary

    def forward(
        self, x: Tensor, padding: Padding | None = None, at: Tensor | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """(B, T, D) -> all heads' output, (B, T, D), or (B, M, D) when only the positions `at` (B, M) attend.

        `at` is not for causal attention. With `padding`, x is (N, D), its rows alone, and so is the result without
        `at`. With `allowed` (B, T, T), token i attends to j where allowed[:, i, j], causal or not. The output
        projection is left to whoever asks: token by token.
        """
        qkv = self.qkv(x)
        if padding is None:
            return self._attend(self.heads(qkv, at), allowed)
        parts, done = [], 0
        for group, part in padding.split(qkv):
            G, S = group.real.shape
            wanted = None if at is None else at[done : done + G]
            weights = group.weights(self.n_heads, S if wanted is None else wanted.shape[1])
            parts.append(self.in_group(part, group, weights, wanted))
            done += G
        return padding.join(parts) if at is None else torch.cat(parts)

    def in_group(self, qkv: Tensor, group: Group, weights: Weights, at: Tensor | None) -> Tensor:
        """Queries, keys and values of a group's rows (n, D + 2 K) -> (n, D), or (G, M, D)."""
        y = self._attend(self.heads(group.pad(qkv), at), group.real, weights)
        return group.remove(y) if at is None else y

    def heads(self, qkv: Tensor, at: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D + 2 K) -> queries (B, H, M, C), and keys and values, each (B, H, T, C)."""
        q, k, v = qkv.split(self.widths, dim=-1)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q.float()).to(v.dtype), self.key_norm(k.float()).to(v.dtype)
        q, k, v = (y.unflatten(-1, (-1, self.widths[0] // self.n_heads)) for y in (q, k, v))
        q, k, v = (y.transpose(1, 2) for y in (q if at is None else pick(q, at), k, v))
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        if self.sharing > 1:
            k, v = (y.repeat_interleave(self.sharing, dim=1) for y in (k, v))
        return q, k, v

    def _attend(
        self, heads: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, weights: Weights | None = None
    ) -> Tensor:
        """Queries (B, H, M, C), keys and values (B, H, T, C) -> (B, M, D). A mask of token pairs tells all there is."""
        causal = self.causal and (mask is None or mask.dim() == 2)
        return attend(*heads, self.dropout, causal=causal, mask=mask, weights=weights).transpose(1, 2).flatten(2)


def pick(x: Tensor, at: Tensor) -> Tensor:
    """The positions `at` (B, M) of x (B, T, ...): (B, M, ...)."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None]
    return x[rows, at]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout: Dropout,
    *,
    causal: bool,
    mask: Tensor | None,
    weights: Weights | None = None,
) -> Tensor:
    """softmax(q k' / sqrt(C)) v (B, H, M, C), of q (B, H, M, C) and k, v (B, H, T, C); M is T where it is causal.

    `mask` (B, T), or (B, M, T), is True at what may be attended to; `weights` tells of a padded group's, which is not
    causal. Written out when weights are dropped, since the mask is ours, and for training on a CPU, where the backward
    pass of torch's fused kernel is slower than the plain formula.
    """
    assert weights is None or not causal
    if mask is not None:
        mask = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
    if not dropout.active and (q.is_cuda or not torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    if not torch.compiler.is_compiling():  # a product puts its operands in order, which takes long if it transposes one
        k = k.contiguous()
    scores, scale = (q @ k.transpose(-1, -2)).float(), q.shape[-1] ** -0.5
    shape = scores.shape
    if weights is not None and torch.compiler.is_compiling():
        scores = _without_padding(scores.flatten(0, 2) * scale, weights.real)
    elif mask is None:
        scores = scores * scale
    else:  # adding minus infinity needs no pass of its own, forward or backward, and leaves all else as it is
        hidden = torch.where(mask, 0.0, float("-inf"))
        scores = torch.add(hidden, scores, alpha=scale)
    if causal:
        scores = _without_later(scores)
    if weights is not None:
        scores = scores.view(-1, shape[-1])
    dropped = dropout(scores.softmax(-1).to(v.dtype), None if weights is None else weights.places)
    return dropped.view(shape) @ v


def _without_padding(scores: Tensor, real: Tensor) -> Tensor:
    """(W, S) -> minus infinity beyond each row's real keys (W,).

    With one mask for all of a sequence's rows the compiler would ask at each score which sequence it belongs to: a
    division by a number that it does not know, as groups have any size.
    """
    key = torch.arange(scores.shape[-1], dtype=torch.int32, device=scores.device)
    return scores.masked_fill(key >= real[:, None], float("-inf"))


def _without_later(scores: Tensor) -> Tensor:
    """(B, H, T, T) -> minus infinity at keys that come after their query; compiled, (B * H * T, T).

    With one mask for all heads the compiler would walk through the scores in loops of two kinds, and keep what comes
    in between in memory: a third more time for all of attention but its projections. Row by row there is one loop.
    """
    T = scores.shape[-1]
    key = torch.arange(T, dtype=torch.int32, device=scores.device)
    query = key[:, None]
    if torch.compiler.is_compiling():
        scores = scores.flatten(0, 2)
        query = torch.arange(len(scores), dtype=torch.int32, device=scores.device)[:, None] % T
    return scores.masked_fill(key > query, float("-inf"))


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864), halves rotated against each other as in LLaMA."""

    cos: Tensor
    sin: Tensor

    def __init__(self, d_head: int, length: int, theta: float):
        super().__init__()
        frequency = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
        angle = torch.outer(torch.arange(length, dtype=torch.float64), frequency)  # (T, C/2)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, T, C) -> (B, H, T, C), rotated by position."""
        T = x.shape[-2]
        cos, sin = self.cos[:T], self.sin[:T]
        first, second = x.float().chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)
