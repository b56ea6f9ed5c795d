"""Which sequence comes when: of one corpus, or of several by their weights; a pure function of (seed, place).

A mixture's order is made of blocks of BLOCK sequences. Each has every part as often as its weight says, in an order of
its own, so that how often a part came before any place follows from the place alone (as in Levanter's mixtures).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from actbench.data.keys import keyed_generator
from actbench.errors import BadInput, Problem

BLOCK = 2048


class Order(Protocol):
    """An endless order of samples."""

    def at(self, place: int) -> tuple[int, int]:
        """The epoch and the sample at a place."""
        ...


class Shuffled:
    """All of n samples in each epoch, every epoch in an order of its own."""

    def __init__(self, n: int, *key: object):
        self._n, self._key = n, key
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def at(self, place: int) -> tuple[int, int]:
        """The epoch and the sample at a place."""
        epoch, index = divmod(place, self._n)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, keyed_generator("order", *self._key, epoch).permutation(self._n)
        return epoch, int(self._order[index])


class Mixed:
    """Samples of parts that follow one another, by weight; a part that is through begins anew, in another order.

    The epoch of a sample is that of its part. Raises BadInput for a part without a sequence or with next to no weight.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], seed: int):
        self.counts = block_counts(weights)
        for number, (length, count) in enumerate(zip(lengths, self.counts, strict=True)):
            if not length:
                raise _problem(number, "its training text is shorter than one sequence")
            if not count:
                raise _problem(number, f"its weight is less than one in {2 * BLOCK:,}")
        self.lengths = list(lengths)
        self._firsts = np.cumsum([0, *lengths])
        self._seed = seed
        self._parts = [Shuffled(length, seed, "part", number) for number, length in enumerate(lengths)]
        self._block = lru_cache(maxsize=2)(self._ordered)

    def at(self, place: int) -> tuple[int, int]:
        """The epoch and the sample at a place."""
        block, within = divmod(place, BLOCK)
        parts, ranks = self._block(block)
        part = int(parts[within])
        epoch, sample = self._parts[part].at(block * self.counts[part] + int(ranks[within]))
        return epoch, int(self._firsts[part]) + sample

    def taken(self, place: int) -> list[int]:
        """How many sequences of each part come before a place."""
        block, within = divmod(place, BLOCK)
        begun = np.bincount(self._block(block)[0][:within], minlength=len(self.counts))
        return [block * count + int(more) for count, more in zip(self.counts, begun, strict=True)]

    def _ordered(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The part at each place of a block, and how often it came in the block before."""
        parts = keyed_generator("mixture", self._seed, block).permutation(
            np.repeat(np.arange(len(self.counts)), self.counts)
        )
        ranks = np.empty_like(parts)
        for number, count in enumerate(self.counts):
            ranks[parts == number] = np.arange(count)
        return parts, ranks


def block_counts(weights: Sequence[float]) -> list[int]:
    """How many of BLOCK sequences each part gives; weights add up to 1, and the largest remainders are rounded up."""
    exact = [weight * BLOCK for weight in weights]
    counts = [int(count) for count in exact]
    by_remainder = sorted(range(len(exact)), key=lambda number: counts[number] - exact[number])
    for number in by_remainder[: BLOCK - sum(counts)]:
        counts[number] += 1
    return counts


def without_repeats(lengths: Sequence[int], weights: Sequence[float]) -> list[int]:
    """How many sequences of each part make the largest mixture by weight in which none comes twice.

    Raises BadInput for a part that has none.
    """
    for number, length in enumerate(lengths):
        if not length:
            raise _problem(number, "its held-out text is shorter than one sequence")
    whole = min(length / weight for length, weight in zip(lengths, weights, strict=True))
    return [max(1, int(whole * weight + 1e-9)) for weight in weights]


def _problem(number: int, message: str) -> BadInput:
    return BadInput(Problem(message, key=f"corpus.parts.{number}", hint="give more text, or leave the part out"))
