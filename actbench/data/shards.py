"""A source's documents in scratch files, some megabytes a shard, so that reading goes on where it was stopped.

A shard is one when its mark, a JSON file, is there: it is written last, once the others are on the disk.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from actbench.data.documents import PART_BYTES, Part, Source
from actbench.data.splitting import SplitHash
from actbench.store.atomic import flush, write_json

SHARD_BYTES = 16 << 20  # of text, from which a shard ends with its document

INDEX = np.dtype([("bytes", "<u8"), ("place", "<f8")])  # of each document: its length, and its split_hash
COUNTS = np.dtype([("tokens", "<u8"), ("characters", "<u8")])  # of each document, once it is tokenised


@dataclass(frozen=True)
class Shard:
    """Neighbouring documents of a source, the first `documents` of those in its files; `empty` ones were left out."""

    folder: Path
    number: int
    documents: int
    empty: int = 0

    def path(self, suffix: str) -> Path:
        """One of its files: texts, index, read.json; tokens, counts, tokens.json."""
        return self.folder / f"{self.number:06d}.{suffix}"

    def index(self) -> np.ndarray:
        """Lengths and places, (documents,) of dtype INDEX."""
        return np.fromfile(self.path("index"), INDEX, self.documents)

    def counts(self) -> np.ndarray:
        """Tokens and characters, (documents,) of dtype COUNTS."""
        return np.fromfile(self.path("counts"), COUNTS, self.documents)

    def parts(self, chosen: np.ndarray | None = None) -> Iterator[Part]:
        """The documents' text, or that of those where `chosen` (documents,) is True."""
        lengths = self.index()["bytes"].tolist()
        with self.path("texts").open("rb") as file:
            for length, wanted in zip(lengths, [True] * len(lengths) if chosen is None else chosen, strict=True):
                if wanted:
                    yield from _parts(file, length)
                else:
                    file.seek(length, 1)


class Shards:
    """All shards of a source, in order. Each iteration finds those in `folder` and reads on where they end."""

    def __init__(self, source: Source, folder: Path):
        self.source, self.folder = source, folder

    @property
    def bytes(self) -> int | None:
        """Of all its text, once it is read to its end."""
        found = list(self._marks())
        return sum(mark["bytes"] for mark in found) if found and found[-1]["ends"] else None

    def __iter__(self) -> Iterator[Shard]:
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 0
        place: tuple[Any, ...] = ()
        for number, mark in enumerate(self._marks(), start=1):
            yield Shard(self.folder, number - 1, mark["documents"], mark["empty"])
            if mark["ends"]:
                return
            place = (mark["place"],)
        parts, ends = self.source.parts(*place), False
        while not ends:
            shard, ends = _read(self.folder, number, parts)
            yield shard
            number += 1

    def _marks(self) -> Iterator[dict[str, Any]]:
        for number in count():
            path = Shard(self.folder, number, 0).path("read.json")
            if not path.exists():
                return
            yield json.loads(path.read_text(encoding="utf-8"))


def _read(folder: Path, number: int, parts: Iterator[Part]) -> tuple[Shard, bool]:
    """The next shard, and whether the source ends with it."""
    shard = Shard(folder, number, 0)
    documents = empty = size = 0
    ends, after = True, None
    with shard.path("texts").open("wb") as texts, shard.path("index").open("wb") as index:
        for length, hashed, place in _written(parts, texts):
            after = place
            if length:
                index.write(np.array((length, hashed), INDEX).tobytes())
                documents, size = documents + 1, size + length
            else:
                empty += 1
            if size >= SHARD_BYTES:
                ends = False
                break
    flush(shard.path("texts"))
    flush(shard.path("index"))
    facts = {"documents": documents, "empty": empty, "bytes": size, "ends": ends, "place": after}
    write_json(shard.path("read.json"), facts)
    return Shard(folder, number, documents, empty), ends


def _written(parts: Iterable[Part], file: BinaryIO) -> Iterator[tuple[int, float, Any]]:
    """Writes the documents; tells each one's length in bytes, split_hash and place. Of a blank one nothing stays."""
    length, blank, hashed = 0, True, SplitHash()
    for text, ends, place in parts:
        data = text.encode()
        file.write(data)
        hashed.update(data)
        length += len(data)
        blank = blank and (not text or text.isspace())
        if not ends:
            continue
        if blank:
            file.seek(-length, 1)
            file.truncate()
        yield 0 if blank else length, hashed.value(), place
        length, blank, hashed = 0, True, SplitHash()


def blocks(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The next `length` bytes, a few at a time."""
    while length > 0:
        yield file.read(min(length, PART_BYTES))
        length -= PART_BYTES


def _parts(file: BinaryIO, length: int) -> Iterator[Part]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    left = length
    for block in blocks(file, length):
        left -= len(block)
        yield Part(decoder.decode(block, not left), not left)
