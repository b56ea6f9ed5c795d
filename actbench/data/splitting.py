"""Which documents are held out for validation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np

from actbench.errors import BadInput, Problem


class SplitHash:
    """A keyed hash of a text that comes in parts, as a number that is uniform in [0, 1)."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=6, key=b"actbench split")

    def update(self, data: bytes) -> None:
        """Takes the next bytes of the text's UTF-8."""
        self._hash.update(data)

    def value(self) -> float:
        """The number."""
        return int.from_bytes(self._hash.digest(), "big") / 2**48


def split_hash(text: str) -> float:
    """The hash of a text: a document is held out when it is below the fraction.

    Nothing but the text counts, so that a document stays in its split when others come, go or change places.
    """
    hashed = SplitHash()
    hashed.update(text.encode())
    return hashed.value()


def held_out_below(hashes: Iterable[np.ndarray], fraction: float) -> float:
    """The hash below which documents are held out, given all of them in arrays: the fraction.

    A corpus so small that the fraction holds out nothing has the document with the lowest hash held out.
    Raises BadInput when either split would be empty.
    """
    total = held_out = lowest_count = 0
    lowest = math.inf
    for some in hashes:
        total, held_out = total + len(some), held_out + int((some < fraction).sum())
        least = float(some.min(initial=math.inf))
        if least < lowest:
            lowest, lowest_count = least, 0
        lowest_count += int((some == lowest).sum())
    below = fraction
    if not held_out:
        below, held_out = math.nextafter(lowest, math.inf), lowest_count
    _check(total, held_out)
    return below


def _check(total: int, held_out: int) -> None:
    if not total:
        raise BadInput(Problem("holds no text", key="corpus"))
    if held_out == total:
        count = "one document" if total == 1 else f"{total} documents, which all fall into the validation split"
        hint = "give more documents: one a file, or one a line of a .jsonl"
        raise BadInput(Problem(f"holds {count}; training and validation need different ones", key="corpus", hint=hint))
