"""The plain forms of what the training step does by a trick: how it would be written without a thought for speed.

Each module stands in for the class that it extends, with the same parameters. Shapes: B batch, T time, M positions
wanted, H heads, C width of a head, N tokens scored, D model width, V vocabulary.
"""

from __future__ import annotations

from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.nn.attention import Attention, pick
from actbench.nn.bert import Bert
from actbench.nn.dropout import Dropout, Places, _drop, _named
from actbench.nn.experts import MixtureOfExperts
from actbench.nn.gpt import Gpt
from actbench.nn.loss import CrossEntropy, CrossEntropyPart, Gradients
from actbench.nn.padding import Padding, Weights
from actbench.training import hardware


class WholeLogits(CrossEntropy):
    """All logits at once, and autograd's own gradient."""

    def forward(self, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(N, D), (N,), (V, D), (V,) -> nats."""
        return self.part(hidden, targets, weight, bias, 1.0)


class WholeLogitsPart(CrossEntropyPart):
    """The formula of WholeLogits, where training compiles it."""

    def forward(
        self,
        hidden: Tensor,
        targets: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scale: float,
        into: Gradients | None = None,
    ) -> Tensor:
        """(N, D), (N,) -> the mean loss alone, times `scale`."""
        return F.cross_entropy(F.linear(hidden, weight, bias).float(), targets) * scale


class TorchDropout(Dropout):
    """torch's dropout, which draws from torch's generator."""

    def forward(self, x: Tensor, places: Places | None = None) -> Tensor:
        """(...) -> (...)."""
        return F.dropout(x, self.p, self.training)


class KeptMask(Dropout):
    """The same masks, kept for the backward pass: what autograd does with the formula."""

    def forward(self, x: Tensor, places: Places | None = None) -> Tensor:
        """(...) -> (...)."""
        return _drop(x, _named(x, 0, None) ^ self.key, self.p) if self.active else x


class WholeLastBlock(Bert):
    """The last block works at all positions, as the others do."""

    def encode(
        self,
        tokens: Tensor,
        segments: Tensor | None = None,
        mask: Tensor | Padding | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """Token ids (B, T) -> hidden states (B, T, D), or (B, M, D) of the positions `at` (B, M)."""
        x = super().encode(tokens, segments, mask)
        return x if at is None else pick(x, at)


class TorchAttention(Attention):
    """torch's own function for attention, whatever else is the case."""

    def forward(
        self, x: Tensor, padding: Padding | None = None, at: Tensor | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """(B, T, D) -> all heads' output, (B, T, D), or (B, M, D) of the positions `at` (B, M); nothing is padded."""
        assert padding is None and allowed is None
        q, k, v = self.heads(self.qkv(x), at)
        dropped = self.dropout.p if self.dropout.active else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropped, is_causal=self.causal)
        return y.transpose(1, 2).flatten(2)


class OneCausalMask(Attention):
    """Causal attention with one mask (T, T) for all sequences and heads, compiled or not."""

    def _attend(
        self, heads: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, weights: Weights | None = None
    ) -> Tensor:
        """Queries, keys and values (B, H, T, C) -> (B, T, D); nothing is padded."""
        assert mask is None and weights is None
        q, k, v = heads
        scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
        later = torch.ones(*scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        shares = scores.masked_fill(later, float("-inf")).softmax(-1).to(v.dtype)
        return (self.dropout(shares) @ v).transpose(1, 2).flatten(2)


class LoopOverExperts(MixtureOfExperts):
    """An expert at a time: its tokens are gathered, and what it makes of them is added up where they were."""

    @torch.compiler.disable  # the number of an expert's tokens changes with every batch
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), summed in fp32."""
        tokens = x.reshape(-1, x.shape[-1])
        _, experts, weights = self.router(tokens)
        served = torch.zeros(tokens.shape, dtype=weights.dtype, device=x.device)
        for expert in range(self.router.out_features):
            rows, nth = torch.where(experts == expert)
            inputs = [F.linear(tokens[rows], one.weight[expert]) for one in (self.gate, self.up) if one is not None]
            outputs = F.linear(self.activation(*inputs), self.down.weight[expert])
            served = served.index_add(0, rows, outputs * weights[rows, nth, None])
        return served.view(x.shape)


def nothing_compiled(model: Bert | Gpt) -> None:
    """In place of compile_blocks: every operation by itself."""


def default_compiler(model: Bert | Gpt) -> None:
    """compile_blocks with the settings that torch has by default."""
    with patch.object(hardware, "COMPILER", {}):
        hardware.compile_blocks(model)


def parameter_by_parameter(optimizer: torch.optim.Optimizer) -> None:
    """AdamW as a loop over parameters, an operation of its formula at a time."""
    for group in optimizer.param_groups:
        group.update(fused=False, foreach=False)
