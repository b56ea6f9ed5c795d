"""Packed tokens as batches: sample, order and masks are a pure function of (seed, epoch, sample).

The state of a stream is one integer, the number of batches given out; (epoch, index) follow from it, so resuming
seeks and never replays. Of a mixture the part follows from it too (mixture.py).

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
from actbench.data.mixture import Order, Shuffled
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
        content_length, all_tokens = self.length - 2, np.asarray(self.tokens)  # slices of a memory map are slow to make
        tokens = np.empty((len(samples), self.length), dtype=np.int64)
        tokens[:, 0], tokens[:, -1] = self.cls_id, self.sep_id
        positions = np.empty((len(samples), self.scored_per_sequence), dtype=np.int64)
        targets = np.empty_like(positions)
        for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
            content = all_tokens[sample * content_length : (sample + 1) * content_length].astype(np.int64)
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
    """Each token predicts the next: {"tokens" (B, T), "targets" (B, T)}.

    With a `separator`, the token between documents, there is "documents" (B, T) too: the number of each token's
    document within its sequence. A separator counts to the document after it, whose first token it predicts.
    """

    tokens: np.ndarray
    length: int
    separator: int | None = None

    def __len__(self) -> int:
        return max(0, len(self.tokens) - 1) // self.length

    def batch(self, samples: np.ndarray, keys: Sequence[tuple[object, ...]]) -> Batch:
        """The batch of those samples; nothing in it is random."""
        rows = [self.tokens[s * self.length : (s + 1) * self.length + 1] for s in samples]
        window = torch.from_numpy(np.stack(rows).astype(np.int64))
        batch = {"tokens": window[:, :-1].contiguous(), "targets": window[:, 1:].contiguous()}
        if self.separator is not None:
            batch["documents"] = (batch["tokens"] == self.separator).cumsum(1)
        return batch


class JoinedSequences:
    """The sequences of several parts, one part after the other; of each the first `lengths`, or all."""

    def __init__(self, parts: Sequence[Sequences], lengths: Sequence[int] | None = None):
        self.parts = parts
        self.lengths = [len(part) for part in parts] if lengths is None else list(lengths)
        self._firsts = np.cumsum([0, *self.lengths])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def batch(self, samples: np.ndarray, keys: Sequence[tuple[object, ...]]) -> Batch:
        """The batch of those samples."""
        owners = np.searchsorted(self._firsts, samples, side="right") - 1
        places = [np.flatnonzero(owners == number) for number in np.unique(owners)]
        batches = [
            self.parts[number].batch(samples[at] - self._firsts[number], [keys[i] for i in at.tolist()])
            for number, at in zip(np.unique(owners).tolist(), places, strict=True)
        ]
        back = torch.from_numpy(np.argsort(np.concatenate(places)))
        return {name: torch.cat([batch[name] for batch in batches])[back] for name in batches[0]}


class TrainingStream:
    """Batches without end. Batch number p holds samples p*B .. p*B + B - 1 of an order: all epochs' laid end to end.

    `take_part` has it give only the rows of one of several equal parts of each batch.
    """

    def __init__(self, sequences: Sequences, batch_size: int, seed: int, order: Order | None = None):
        if len(sequences) < batch_size:
            raise BadInput(
                Problem(
                    f"the training text gives {len(sequences)} sequences, fewer than one batch of {batch_size}",
                    hint="use more text, shorter sequences or smaller batches",
                )
            )
        self.sequences, self.batch_size, self.seed = sequences, batch_size, seed
        self.position = 0  # batches already given out, or skipped by a resume
        self.order = order or Shuffled(len(sequences), seed)
        self._part, self._rows = 0, batch_size

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
        places = [self.order.at(place) for place in range(first, first + self._rows)]
        samples = np.array([sample for _, sample in places])
        return self.sequences.batch(samples, [(self.seed, epoch, sample) for epoch, sample in places])


def fixed_batches(sequences: Sequences, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """The same sequences in the same order with the same masks for every run: `limit` of them, spread over the text.

    No sequence is dropped: the last batch may be smaller.
    """
    order = keyed_generator("fixed order").permutation(len(sequences))[:limit]
    for start in range(0, len(order), batch_size):
        samples = order[start : start + batch_size]
        yield sequences.batch(samples, [("fixed", sample) for sample in samples])
