"""GPT-style decoders: GPT-2's layout (Radford et al. 2019) and LLaMA's (Touvron et al. 2023, arXiv 2302.13971).

LLaMA's may be a mixture of experts, as OLMoE.

Shapes: B batch, T time, D model width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actbench.config.placement import placement
from actbench.config.schema import ActivationSpec, GptSection
from actbench.nn.attention import Attention, Rotary
from actbench.nn.block import Block, run
from actbench.nn.dropout import Dropout
from actbench.nn.experts import MixtureOfExperts
from actbench.nn.feed_forward import FeedForward
from actbench.nn.heads import LanguageModelHead
from actbench.nn.width import has_biases, widths


class Gpt(nn.Module):
    """A causal language model, pre-norm, with the norms, positions and biases of its layout."""

    def __init__(self, config: GptSection, vocab_size: int, length: int):
        super().__init__()
        D = config.d_model
        self.recompute = False  # whether a block's inside is computed anew in the backward pass, not kept
        gpt2 = config.layout == "gpt2"
        self.tokens = nn.Embedding(vocab_size, D)
        self.positions = nn.Embedding(length, D) if gpt2 else None
        self.dropout = Dropout(config.dropout)
        rotary = None if gpt2 else Rotary(D // config.n_heads, length, config.rope_theta)
        wide = widths(config)
        self.layers = nn.ModuleList(
            _block(config, rotary, _feed_forward(config, wide[slot], spec)) for slot, spec in placement(config).items()
        )
        self.final_norm = _norm(config)
        self.head = LanguageModelHead(D, vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.decoder.weight = self.tokens.weight

    def encode(self, tokens: Tensor, documents: Tensor | None = None) -> Tensor:
        """Token ids (B, T) -> hidden states (B, T, D).

        With the number of each token's document (B, T), tokens attend to their own document's alone (as in Llama 3,
        Grattafiori et al. 2024, arXiv 2407.21783, section 3.2). Positions count on from document to document.
        """
        positions = None
        if self.positions is not None:
            positions = self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        x = self.embedded(self.tokens(tokens), positions)
        allowed = None if documents is None else same_document(documents)
        for layer in self.layers:
            x = run(layer, x, None, None, allowed, anew=self.recompute)
        return self.final_norm(x)

    def embedded(self, tokens: Tensor, positions: Tensor | None) -> Tensor:
        """The embeddings (B, T, D) and (T, D), if positions have any -> what the first block reads (B, T, D)."""
        return self.dropout(tokens if positions is None else tokens + positions)

    def logits(self, tokens: Tensor) -> Tensor:
        """Token ids (B, T) -> logits of each next token (B, T, V)."""
        return self.head.logits(self.encode(tokens))

    def forward(self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood of the next tokens, in nats. `tokens` and `targets` are (B, T).

        With `documents` as in `encode`.
        """
        return self.head(self.encode(tokens, documents).flatten(0, 1), targets.flatten())


def same_document(documents: Tensor) -> Tensor:
    """Where token i may attend to j, no later one of its document: (B, T) -> (B, T, T)."""
    return (documents[:, :, None] == documents[:, None, :]).tril()


def _norm(config: GptSection) -> nn.Module:
    kind = nn.LayerNorm if config.layout == "gpt2" else nn.RMSNorm
    return kind(config.d_model, eps=config.norm_eps)


def _feed_forward(config: GptSection, width: int, spec: ActivationSpec) -> FeedForward | MixtureOfExperts:
    if config.moe is None:
        return FeedForward(config.d_model, width, spec, bias=has_biases(config))
    return MixtureOfExperts(config.d_model, width, spec, config.moe)


def _block(config: GptSection, rotary: Rotary | None, feed_forward: FeedForward | MixtureOfExperts) -> Block:
    return Block(
        Attention(
            config.d_model,
            config.n_heads,
            causal=True,
            bias=has_biases(config),
            dropout=config.dropout,
            rotary=rotary,
            n_kv_heads=config.n_kv_heads,
            qk_norm_eps=config.norm_eps if config.qk_norm else None,
        ),
        feed_forward,
        (_norm(config), _norm(config)),
        placement="pre",
        n_layers=config.n_layers,
        dropout=config.dropout,
    )
