"""Packed tokens as batches: sample, order and masks are a pure function of (seed, epoch, sample).

The state of a stream is one integer, the number of batches given out; (epoch, index) follow from it, so resuming
seeks and never replays.

Shapes: B batch, T sequence length, M masked positions a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from actbench.data.keys import keyed_generator
from actbench.data.masking import Masking
from actbench.errors import BadInput, Problem

Batch = dict[str, Tensor]


class Sequences(Protocol):
    """Packed tokens cut into equal sequences, and how a batch is made of some of them."""

    def __len__(self) -> int: ...

    def batch(self, samples: np.ndarray, keys: Sequence[tuple[object, ...]]) -> Batch:
        """The batch of those samples; `keys` holds one key a sample for whatever is random in it."""
        ...


@dataclass(frozen=True)
class MaskedSequences:
    """[CLS] content [SEP], with masks: {"tokens" (B, T), "masked" (B, M) positions, "targets" (B, M)}."""

    tokens: np.ndarray
    length: int
    cls_id: int
    sep_id: int
    masking: Masking

    def __len__(self) -> int:
        return len(self.tokens) // (self.length - 2)

    @property
    def scored_per_sequence(self) -> int:
        """Masked positions of one sequence."""
        return self.masking.count(self.length - 2)

    def batch(self, samples: np.ndarray, keys: Sequence[tuple[object, ...]]) -> Batch:
        """The masked batch of those samples."""
        content_length = self.length - 2
        tokens = np.empty((len(samples), self.length), dtype=np.int64)
        tokens[:, 0], tokens[:, -1] = self.cls_id, self.sep_id
        positions = np.empty((len(samples), self.scored_per_sequence), dtype=np.int64)
        targets = np.empty_like(positions)
        for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
            content = self.tokens[sample * content_length : (sample + 1) * content_length].astype(np.int64)
            tokens[row, 1:-1], at = self.masking.apply(content, keyed_generator("mask", *key))
            positions[row] = at + 1
            targets[row] = content[at]
        return {
            "tokens": torch.from_numpy(tokens),
            "masked": torch.from_numpy(positions),
            "targets": torch.from_numpy(targets),
        }


@dataclass(frozen=True)
class CausalSequences:
    """Each token predicts the next: {"tokens" (B, T), "targets" (B, T)}."""

    tokens: np.ndarray
    length: int

    def __len__(self) -> int:
        return max(0, len(self.tokens) - 1) // self.length

    def batch(self, samples: np.ndarray, keys: Sequence[tuple[object, ...]]) -> Batch:
        """The batch of those samples; nothing in it is random."""
        rows = [self.tokens[s * self.length : (s + 1) * self.length + 1] for s in samples]
        window = torch.from_numpy(np.stack(rows).astype(np.int64))
        return {"tokens": window[:, :-1].contiguous(), "targets": window[:, 1:].contiguous()}


class TrainingStream:
    """Batches without end. Batch number p holds samples p*B .. p*B + B - 1 of all epochs' orders laid end to end.

    `take_part` has it give only the rows of one of several equal parts of each batch.
    """

    def __init__(self, sequences: Sequences, batch_size: int, seed: int):
        if len(sequences) < batch_size:
            raise BadInput(
                Problem(
                    f"the training text gives {len(sequences)} sequences, fewer than one batch of {batch_size}",
                    hint="use more text, shorter sequences or smaller batches",
                )
            )
        self.sequences, self.batch_size, self.seed = sequences, batch_size, seed
        self.position = 0  # batches already given out, or skipped by a resume
        self._part, self._rows = 0, batch_size
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def take_part(self, part: int, parts: int) -> None:
        """From now on, of each batch the rows of part number `part` of `parts`, which must divide the batch."""
        self._part, self._rows = part, self.batch_size // parts

    def __iter__(self) -> Iterator[Batch]:
        position = self.position
        while True:
            yield self.batch(position)
            position += 1

    def batch(self, position: int) -> Batch:
        """Batch number `position`, whatever was asked for before."""
        first = position * self.batch_size + self._part * self._rows
        places = [divmod(i, len(self.sequences)) for i in range(first, first + self._rows)]
        samples = np.array([self._epoch_order(epoch)[index] for epoch, index in places])
        keys = [(self.seed, epoch, sample) for (epoch, _), sample in zip(places, samples, strict=True)]
        return self.sequences.batch(samples, keys)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = keyed_generator("order", self.seed, epoch).permutation(len(self.sequences))
        return self._order


def fixed_batches(sequences: Sequences, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """The same sequences in the same order with the same masks for every run: `limit` of them, spread over the text.

    No sequence is dropped: the last batch may be smaller.
    """
    order = keyed_generator("fixed order").permutation(len(sequences))[:limit]
    for start in range(0, len(order), batch_size):
        samples = order[start : start + batch_size]
        yield sequences.batch(samples, [("fixed", sample) for sample in samples])
