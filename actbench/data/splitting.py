"""Which documents are held out for validation, and the scratch file from which either split is read again."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actbench.errors import BadInput, Problem

_LENGTH = struct.Struct("<Q")


def split_hash(text: str) -> float:
    """A keyed hash of the text, uniform in [0, 1): a document is held out when it is below the fraction.

    Nothing but the text counts, so that a document stays in its split when others come, go or change places.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=6, key=b"actbench split").digest()
    return int.from_bytes(digest, "big") / 2**48


@dataclass(frozen=True)
class Split:
    """The documents of one split in the corpus' order; each iteration starts from the first."""

    scratch: Path
    below: float
    held_out: bool

    def __iter__(self) -> Iterator[str]:
        with self.scratch.open("rb") as file:
            while head := file.read(_LENGTH.size):
                text = file.read(_LENGTH.unpack(head)[0]).decode()
                if (split_hash(text) < self.below) == self.held_out:
                    yield text


@dataclass(frozen=True)
class SplitCorpus:
    """A corpus in a scratch file. `sha256` is over its documents; `empty` ones were left out, so many."""

    train: Split
    validation: Split
    sha256: str
    empty: int


def split(documents: Iterable[str], fraction: float, scratch: Path) -> SplitCorpus:
    """Writes the documents to `scratch` and divides them.

    A corpus so small that the fraction holds out nothing has the document with the lowest hash held out.
    Raises BadInput when either split would be empty.
    """
    digest = hashlib.sha256()
    empty = total = held_out = lowest_count = 0
    lowest = math.inf
    with scratch.open("wb") as file:
        for text in documents:
            if not text or text.isspace():
                empty += 1
                continue
            data = text.encode()
            record = _LENGTH.pack(len(data)) + data
            file.write(record)
            digest.update(record)
            place = split_hash(text)
            total, held_out = total + 1, held_out + (place < fraction)
            if place <= lowest:
                lowest_count = lowest_count + 1 if place == lowest else 1
                lowest = place
    below = fraction
    if not held_out:
        below, held_out = math.nextafter(lowest, math.inf), lowest_count
    _check(total, held_out)
    return SplitCorpus(Split(scratch, below, False), Split(scratch, below, True), digest.hexdigest(), empty)


def _check(total: int, held_out: int) -> None:
    if not total:
        raise BadInput(Problem("holds no text", key="corpus"))
    if held_out == total:
        count = "one document" if total == 1 else f"{total} documents, which all fall into the validation split"
        hint = "give more documents: one a file, or one a line of a .jsonl"
        raise BadInput(Problem(f"holds {count}; training and validation need different ones", key="corpus", hint=hint))
