"""BERT (Devlin et al. 2019, arXiv 1810.04805): a bidirectional encoder trained to fill in masked tokens.

Shapes: B batch, T time, D model width, V vocabulary, M masked tokens a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actbench.config.placement import POOLER, placement
from actbench.config.schema import BertSection
from actbench.nn.attention import Attention
from actbench.nn.block import Block, run
from actbench.nn.dropout import Dropout
from actbench.nn.feed_forward import FeedForward
from actbench.nn.heads import Classifier, MaskedLanguageModelHead, Pooler, Spans
from actbench.nn.padding import Padding
from actbench.nn.width import widths


class Bert(nn.Module):
    """The encoder, its masked-language-model head, and the pooler that only fine-tuning uses."""

    def __init__(self, config: BertSection, vocab_size: int, length: int):
        super().__init__()
        D = config.d_model
        self.recompute = False  # whether a block's inside is computed anew in the backward pass, not kept
        self.tokens = nn.Embedding(vocab_size, D)
        self.positions = nn.Embedding(length, D)
        self.segments = nn.Embedding(2, D)
        self.norm = nn.LayerNorm(D, eps=config.norm_eps)
        self.dropout = Dropout(config.dropout)
        activations, wide = placement(config), widths(config)
        self.layers = nn.ModuleList(
            _block(config, FeedForward(D, wide[slot], spec, bias=True))
            for slot, spec in activations.items()
            if slot != POOLER
        )
        self.final_norm = nn.LayerNorm(D, eps=config.norm_eps) if config.norm_placement == "pre" else None
        self.pooler = Pooler(D, activations[POOLER])
        self.head = MaskedLanguageModelHead(D, vocab_size, norm_eps=config.norm_eps, gelu=config.head_gelu)
        self.head.decoder.weight = self.tokens.weight

    def encode(
        self,
        tokens: Tensor,
        segments: Tensor | None = None,
        mask: Tensor | Padding | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """Token ids (B, T) -> hidden states (B, T, D), or (B, M, D) of the positions `at` (B, M).

        `mask` (B, T) is True at real tokens, which come first, False at padding, whose hidden states mean nothing; or
        it is a ready Padding. The last block leaves out positions that nobody asks for: no later one would
        attend to them.
        """
        padding = Padding(mask, self.positions.num_embeddings) if isinstance(mask, Tensor) else mask
        position = torch.arange(tokens.shape[1], device=tokens.device)
        if padding is not None:
            position = padding.positions
            tokens = padding.remove(tokens)
            segments = padding.remove(segments) if segments is not None else None
        segment = self.segments(segments) if segments is not None else self.segments.weight[0]
        x = self.embedded(self.tokens(tokens), self.positions(position), segment)
        *first, last = self.layers
        for layer in first:
            x = run(layer, x, padding, anew=self.recompute)
        x = run(last, x, padding, at, anew=self.recompute)
        if self.final_norm is not None:
            x = self.final_norm(x)
        return x if padding is None or at is not None else padding.restore(x)

    def embedded(self, tokens: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        """The embeddings (..., D), or what they share -> what the first block reads (..., D)."""
        return self.dropout(self.norm(tokens + positions + segments))

    def logits(self, tokens: Tensor) -> Tensor:
        """Token ids (B, T) -> logits at every position (B, T, V)."""
        return self.head.logits(self.encode(tokens))

    def forward(self, tokens: Tensor, masked: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood of the masked tokens, in nats.

        `tokens` (B, T) with the masks in place, `masked` (B, M) their positions, `targets` (B, M) the ids that were
        there.
        """
        return self.head(self.encode(tokens, at=masked).flatten(0, 1), targets.flatten())


def _block(config: BertSection, feed_forward: FeedForward) -> Block:
    D = config.d_model
    return Block(
        Attention(D, config.n_heads, causal=False, bias=True, dropout=config.dropout, rotary=None),
        feed_forward,
        (nn.LayerNorm(D, eps=config.norm_eps), nn.LayerNorm(D, eps=config.norm_eps)),
        placement=config.norm_placement,
        n_layers=config.n_layers,
        dropout=config.dropout,
    )


class BertClassifier(nn.Module):
    """A pre-trained encoder with a new classifier on its pooler: one text or a pair to K outputs."""

    def __init__(self, encoder: Bert, classifier: Classifier):
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, tokens: Tensor, segments: Tensor, attention: Tensor | Padding) -> Tensor:
        """Token ids, segment ids and the mask of real tokens (see Bert.encode), each (B, T) -> outputs (B, K)."""
        first = tokens.new_zeros(len(tokens), 1)  # [CLS], all that the pooler looks at
        return self.classifier(self.encoder.pooler(self.encoder.encode(tokens, segments, attention, first)))


class BertSpans(nn.Module):
    """A pre-trained encoder that looks for the part of a text that answers a question."""

    def __init__(self, encoder: Bert, spans: Spans):
        super().__init__()
        self.encoder, self.spans = encoder, spans

    def forward(self, tokens: Tensor, segments: Tensor, attention: Tensor | Padding) -> Tensor:
        """Token ids, segment ids and the mask of real tokens (see Bert.encode), each (B, T) -> logits (B, T, 2).

        The last axis is start, end; both are -inf at padding.
        """
        padding = attention
        if isinstance(padding, Tensor):
            padding = Padding(padding, self.encoder.positions.num_embeddings)
        logits = self.spans(self.encoder.encode(tokens, segments, padding))
        return logits.masked_fill(~padding.real[..., None], float("-inf"))


Finetuned = BertClassifier | BertSpans
