"""Multi-head self-attention. The one place that decides how attention is computed.

Shapes: B batch, T time, M positions that attend, H heads, C width of a head, D = H * C model width; G heads of keys and
values, K = G * C.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.nn.dropout import Dropout, Places
from actbench.nn.linear import Linear
from actbench.nn.padding import Group, Padding


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
        """(B, T, D) -> (B, T, D), or (B, M, D) when only the positions `at` (B, M) attend; not for causal attention.

        With `padding`, x is (N, D), its rows alone, and so is the result without `at`. With `allowed`
        (B, T, T), token i attends to j where allowed[:, i, j], causal or not.
        """
        qkv = self.qkv(x)
        if padding is None:
            return self.output(self._attend(qkv, at, allowed=allowed))
        parts, done = [], 0
        for group, part in padding.split(qkv):
            wanted = at[done : done + len(part)] if at is not None else None
            parts.append(self._attend(part, wanted, group))
            done += len(part)
        return self.output(padding.join(parts) if at is None else torch.cat(parts))

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
        self, qkv: Tensor, at: Tensor | None, group: Group | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """Queries, keys and values (B, T, D + 2 K) -> (B, T, D), or (B, M, D)."""
        q, k, v = self.heads(qkv, at)
        mask, places = None, None
        if allowed is not None:
            mask = allowed
        elif group is not None:
            mask = group.real
            places = group.weights(*q.shape[1:3]) if self.dropout.active else None
        y = attend(q, k, v, self.dropout, causal=self.causal and allowed is None, mask=mask, places=places)
        return y.transpose(1, 2).flatten(2)


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
    places: Places | None = None,
) -> Tensor:
    """softmax(q k' / sqrt(C)) v (B, H, M, C), of q (B, H, M, C) and k, v (B, H, T, C); M is T where it is causal.

    `mask` (B, T), or (B, M, T), is True at what may be attended to; `places` are the weights'. Written out when weights
    are dropped, since the mask is ours, and for training on a CPU, where the backward pass of torch's fused kernel is
    slower than the plain formula.
    """
    if mask is not None:
        mask = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
    if not dropout.active and (q.is_cuda or not torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    scores, scale = (q @ k.transpose(-1, -2)).float(), q.shape[-1] ** -0.5
    if mask is None:
        scores = scores * scale
    else:  # adding minus infinity needs no pass of its own, forward or backward, and leaves all else as it is
        hidden = torch.where(mask, 0.0, float("-inf"))
        scores = torch.add(hidden, scores, alpha=scale)
    shape = scores.shape
    if causal:
        scores = _without_later(scores)
    return dropout(scores.softmax(-1).to(v.dtype), places).view(shape) @ v


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
