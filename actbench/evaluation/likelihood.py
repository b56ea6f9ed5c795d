"""Mean negative log-likelihood over a fixed list of batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from actbench.data.batches import Batch
from actbench.nn.bert import Bert
from actbench.nn.gpt import Gpt


@dataclass(frozen=True)
class Likelihood:
    """A summed negative log-likelihood in nats, and over how many tokens it was taken."""

    nats: float
    tokens: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite where that has no float."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@torch.no_grad()
def likelihood(
    model: Bert | Gpt,
    batches: Iterable[Batch],
    autocast: AbstractContextManager[None] | None = None,
    part: int = 0,
    parts: int = 1,
) -> Likelihood:
    """The model's negative log-likelihood, dropout off. Every token counts the same, however batches were cut.

    Several processes can share the work, each as one of `parts`: theirs add up to all of it.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    nats, tokens = 0.0, 0
    # A second compiled graph for evaluation costs more than it saves at the sizes validation has.
    with torch.compiler.set_stance("force_eager"), autocast or nullcontext():
        for batch, counts in _dealt(batches, part, parts):
            count = batch["targets"].numel() if counts else 0
            nats += model(**{key: value.to(device) for key, value in batch.items()}).double().item() * count
            tokens += count
    model.train(was_training)
    return Likelihood(nats, tokens)


def _dealt(batches: Iterable[Batch], part: int, parts: int) -> Iterator[tuple[Batch, bool]]:
    """Every `parts`-th batch, and whether it counts.

    All parts get equally many, since a model spread over processes runs in all of them or in none: where the batches do
    not go round, the last of them is dealt again and counts for nothing.
    """
    number = -1
    for number, batch in enumerate(batches):
        if number % parts == part:
            yield batch, True
    if number >= 0 and number % parts < part:
        yield batch, False
