"""What stands on top of the blocks: language-model heads and their loss, and those of fine-tuning.

Shapes: N tokens scored, D model width, V vocabulary, K classes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from actbench import activations
from actbench.config.schema import ActivationSpec
from actbench.nn.dropout import Dropout
from actbench.nn.loss import CrossEntropy


class LanguageModelHead(nn.Module):
    """Hidden states to vocabulary logits, and the negative log-likelihood of targets."""

    def __init__(self, d_model: int, vocab_size: int, *, bias: bool):
        super().__init__()
        self.decoder = nn.Linear(d_model, vocab_size, bias=bias)
        self.loss = CrossEntropy()

    def features(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, D), what the decoder reads."""
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, V)."""
        return self.decoder(self.features(hidden))

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Hidden states (N, D) and target ids (N,) -> the mean negative log-likelihood in nats, in fp32."""
        return self.loss(self.features(hidden), targets, self.decoder.weight, self.decoder.bias)


class MaskedLanguageModelHead(LanguageModelHead):
    """BERT's head: dense, GELU (also in RAFT), norm, then the tied decoder with its own bias."""

    def __init__(self, d_model: int, vocab_size: int, *, norm_eps: float, gelu: Literal["erf", "tanh"] = "erf"):
        super().__init__(d_model, vocab_size, bias=True)
        self.approximate = "tanh" if gelu == "tanh" else "none"
        self.transform = nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model, eps=norm_eps)

    def features(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, D), what the decoder reads."""
        return self.norm(F.gelu(self.transform(hidden), approximate=self.approximate))


class Pooler(nn.Module):
    """BERT's pooler, the first token's state through a dense layer and an activation; a slot of its own."""

    def __init__(self, d_model: int, spec: ActivationSpec):
        super().__init__()
        self.width = d_model
        self.dense = nn.Linear(d_model, d_model)
        self.activation = activations.create(spec.name, width=d_model, **spec.options)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        return self.activation(self.dense(hidden[:, 0]))


class Classifier(nn.Module):
    """Dropout and a linear layer over the pooled state, as in BERT's fine-tuning."""

    def __init__(self, d_model: int, n_outputs: int, dropout: float):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.dense = nn.Linear(d_model, n_outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        return self.dense(self.dropout(pooled))


class Spans(nn.Module):
    """How well an answer begins, and ends, at each token: a linear layer, as in BERT's fine-tuning on SQuAD."""

    def __init__(self, d_model: int):
        super().__init__()
        self.dense = nn.Linear(d_model, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> start and end logits (B, T, 2)."""
        return self.dense(hidden)
