"""Which documents are held out for validation, and the scratch files from which either split is read again."""

from __future__ import annotations

import codecs
import hashlib
import math
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from actbench.data.documents import PART_BYTES, Part
from actbench.errors import BadInput, Problem

_LENGTH = struct.Struct("<Q")
_ENTRY = struct.Struct("<Qd")  # a document's bytes and its place


def split_hash(text: str) -> float:
    """A keyed hash of the text, uniform in [0, 1): a document is held out when it is below the fraction.

    Nothing but the text counts, so that a document stays in its split when others come, go or change places.
    """
    hashed = _new_hash()
    hashed.update(text.encode())
    return _place(hashed)


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=6, key=b"actbench split")


def _place(hashed: hashlib.blake2b) -> float:
    return int.from_bytes(hashed.digest(), "big") / 2**48


@dataclass(frozen=True)
class _Scratch:
    """The documents' bytes, one after the other, in one file; the length and place of each in another."""

    folder: Path

    @property
    def texts(self) -> Path:
        return self.folder / "texts"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    def entries(self) -> Iterator[tuple[int, float]]:
        with self.index.open("rb") as file:
            while entry := file.read(_ENTRY.size):
                yield _ENTRY.unpack(entry)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        with self.texts.open("rb") as file:
            for length, _ in self.entries():
                digest.update(_LENGTH.pack(length))
                for block in _blocks(file, length):
                    digest.update(block)
        return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """The documents of one split in the corpus' order, in parts; each iteration starts from the first."""

    scratch: _Scratch
    below: float
    held_out: bool

    @property
    def bytes(self) -> int:
        """Of all its documents, in UTF-8."""
        return sum(length for length, place in self.scratch.entries() if self._holds(place))

    def _holds(self, place: float) -> bool:
        return (place < self.below) == self.held_out

    def __iter__(self) -> Iterator[Part]:
        with self.scratch.texts.open("rb") as file:
            for length, place in self.scratch.entries():
                if self._holds(place):
                    yield from _parts(file, length)
                else:
                    file.seek(length, os.SEEK_CUR)


@dataclass(frozen=True)
class SplitCorpus:
    """A corpus in scratch files. `sha256` is over its documents; `empty` ones were left out, so many."""

    train: Split
    validation: Split
    sha256: str
    empty: int


def split(parts: Iterable[Part], fraction: float, folder: Path) -> SplitCorpus:
    """Writes the documents to scratch files in `folder`, which is made, and divides them.

    A corpus so small that the fraction holds out nothing has the document with the lowest hash held out.
    Raises BadInput when either split would be empty.
    """
    scratch = _Scratch(folder)
    folder.mkdir()
    empty = total = held_out = lowest_count = 0
    lowest = math.inf
    with scratch.texts.open("wb") as texts, scratch.index.open("wb") as index:
        for length, place in _written(parts, texts):
            if not length:
                empty += 1
                continue
            index.write(_ENTRY.pack(length, place))
            total, held_out = total + 1, held_out + (place < fraction)
            if place <= lowest:
                lowest_count = lowest_count + 1 if place == lowest else 1
                lowest = place
    below = fraction
    if not held_out:
        below, held_out = math.nextafter(lowest, math.inf), lowest_count
    _check(total, held_out)
    return SplitCorpus(Split(scratch, below, False), Split(scratch, below, True), scratch.sha256(), empty)


def _written(parts: Iterable[Part], file: BinaryIO) -> Iterator[tuple[int, float]]:
    """Writes the documents and tells each one's length in bytes and place; of a blank one nothing stays."""
    length, blank, hashed = 0, True, _new_hash()
    for text, ends in parts:
        data = text.encode()
        file.write(data)
        hashed.update(data)
        length += len(data)
        blank = blank and (not text or text.isspace())
        if not ends:
            continue
        if blank:
            file.seek(-length, os.SEEK_CUR)
            file.truncate()
        yield 0 if blank else length, _place(hashed)
        length, blank, hashed = 0, True, _new_hash()


def _blocks(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        yield file.read(min(length, PART_BYTES))
        length -= PART_BYTES


def _parts(file: BinaryIO, length: int) -> Iterator[Part]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    left = length
    for block in _blocks(file, length):
        left -= len(block)
        yield Part(decoder.decode(block, not left), not left)


def _check(total: int, held_out: int) -> None:
    if not total:
        raise BadInput(Problem("holds no text", key="corpus"))
    if held_out == total:
        count = "one document" if total == 1 else f"{total} documents, which all fall into the validation split"
        hint = "give more documents: one a file, or one a line of a .jsonl"
        raise BadInput(Problem(f"holds {count}; training and validation need different ones", key="corpus", hint=hint))
