"""The portions of a corpus, one, or the parts of a mixture: read, learnt from, tokenised, and divided."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from actbench.config.corpus import CheckpointCorpus, Corpus, FilesCorpus, HubCorpus, MixtureCorpus, PlainCorpus
from actbench.config.schema import TokenizerSection
from actbench.data import builtin, documents
from actbench.data import tokenizer as tokenizing
from actbench.data.documents import Part
from actbench.data.shards import Shard, Shards, blocks
from actbench.data.splitting import held_out_below
from actbench.data.tokenising import pieces, token_type, tokenised
from actbench.data.words import WordEncoder
from actbench.errors import BadInput, Problem, retold
from actbench.store.atomic import write_text

LEARNT_BYTES = 64 << 20  # about as much text as a tokenizer is learnt from

_LENGTH = struct.Struct("<Q")


class Progress(NamedTuple):
    """How packing gets on: what is done, to which source, and to how many bytes and tokens of how many, if known."""

    stage: str
    source: str
    bytes: int = 0
    of_bytes: int | None = None
    tokens: int = 0
    of_tokens: int | None = None


Say = Callable[[str], None]
Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Portion:
    """A source, its share of a mixture's tokens, and how many training tokens it is read for (None: all)."""

    source: documents.Source
    weight: float = 1.0
    max_tokens: int | None = None


def portions(corpus: Corpus, say: Say) -> list[Portion]:
    """What a recipe's corpus section names. Raises BadInput when it cannot be found."""
    if isinstance(corpus, CheckpointCorpus):
        message = f"{corpus.checkpoint} came ready: the text that it was trained on is not known here"
        raise BadInput(Problem(message, key="corpus.source", hint="actbench runs import-hf takes such a model in"))
    if isinstance(corpus, MixtureCorpus):
        total = sum(part.weight for part in corpus.parts)
        return [
            Portion(_open_part(number, part, say), part.weight / total, getattr(part, "max_tokens", None))
            for number, part in enumerate(corpus.parts)
        ]
    return [Portion(open_source(corpus, say), max_tokens=getattr(corpus, "max_tokens", None))]


def open_source(corpus: PlainCorpus, say: Say) -> documents.Source:
    """The documents of a corpus that is no mixture. Raises BadInput when it cannot be found."""
    if isinstance(corpus, FilesCorpus):
        return documents.files_source(corpus.files, corpus.text_field)
    if isinstance(corpus, HubCorpus):
        from actbench.data.hub import hub_source

        return hub_source(corpus, say)
    versions = {"source": "builtin", "versions": builtin.versions()}

    def parts(done: int = 0) -> Iterator[Part]:
        return documents.whole(builtin.cached_documents(say), done)

    return documents.Source("the builtin corpus", versions, versions, parts)


def _open_part(number: int, part: PlainCorpus, say: Say) -> documents.Source:
    """As `open_source`; what is wrong with the text, now or when it is read, is told of the mixture's part."""

    def of_part(problem: Problem) -> Problem:
        return replace(problem, key=problem.key.replace("corpus", f"corpus.parts.{number}", 1))

    with retold(of_part):
        source = open_source(part, say)

    def parts(*place: Any) -> Iterator[Part]:
        with retold(of_part):
            yield from source.parts(*place)

    return replace(source, parts=parts)


@dataclass(frozen=True)
class Used:
    """The shards of a portion that are used, tokenised. Documents whose hash is below `below` are held out."""

    shards: list[Shard]
    below: float
    item_bytes: int

    @property
    def empty(self) -> int:
        """Blank documents, which were left out."""
        return sum(shard.empty for shard in self.shards)

    def sha256(self) -> str:
        """Over the documents, each after its length."""
        digest = hashlib.sha256()
        for shard in self.shards:
            with shard.path("texts").open("rb") as file:
                for length in shard.index()["bytes"].tolist():
                    digest.update(_LENGTH.pack(length))
                    for block in blocks(file, length):
                        digest.update(block)
        return digest.hexdigest()

    def write(self, file: BinaryIO, *, held_out: bool) -> dict[str, int]:
        """Appends a split's tokens; returns its numbers of documents, characters, UTF-8 bytes and tokens."""
        tally = {"documents": 0, "characters": 0, "bytes": 0, "tokens": 0}
        for shard in self.shards:
            index, counts = shard.index(), shard.counts()
            wanted = (index["place"] < self.below) == held_out
            for name, values in (("bytes", index["bytes"]), *((key, counts[key]) for key in ("characters", "tokens"))):
                tally[name] += int(values[wanted].sum())
            tally["documents"] += int(wanted.sum())
            ends = np.cumsum(counts["tokens"]) * self.item_bytes
            _copy(shard.path("tokens"), file, wanted, ends)
        return tally


def use(
    portion: Portion, shards: Shards, tokenizer: Tokenizer, fraction: float | None, jobs: int, watch: Watch | None
) -> Used:
    """Reads and tokenises a portion, as far as it is to be. Without a `fraction` no document is held out.

    Raises BadInput when either split would be empty.
    """
    used: list[Shard] = []
    training = 0
    done = Progress("tokenising", portion.source.name, of_bytes=shards.bytes, of_tokens=portion.max_tokens)
    for shard in tokenised(shards, tokenizer, jobs):
        counts, index = shard.counts()["tokens"], shard.index()
        done = done._replace(bytes=done.bytes + int(index["bytes"].sum()), tokens=done.tokens + int(counts.sum()))
        if watch:
            watch(done)
        reached = training + np.where(index["place"] < (fraction or 0.0), 0, counts).cumsum()
        training = int(reached[-1]) if len(reached) else training
        if portion.max_tokens is not None and training >= portion.max_tokens:
            used.append(replace(shard, documents=1 + int(np.searchsorted(reached, portion.max_tokens))))
            break
        used.append(shard)
    hashes = (shard.index()["place"] for shard in used)
    return Used(used, held_out_below(hashes, fraction) if fraction else 0.0, token_type(tokenizer).itemsize)


def learn(
    settings: TokenizerSection,
    own: Sequence[Portion],
    shards: Sequence[Shards],
    fraction: float,
    work: Path,
    watch: Watch | None,
) -> tuple[Tokenizer, str, list[float]]:
    """A tokenizer of the training documents, each portion's by its weight, and from how much of them it is learnt.

    The numbers are the hashes below which a portion's documents did not teach it.
    A portion that is read for so many tokens only gives its first documents, any other one pieces from all over.
    """
    texts = [_learnt_from(*one, fraction, watch) for one in zip(own, shards, strict=True)]
    said = "; ".join(text.said for text in texts)
    made = work / "tokenizer.json"
    if not made.exists():
        for portion, text in zip(own, texts, strict=True):
            if watch:
                watch(Progress("learning the tokenizer from", portion.source.name, text.bytes))
        write_text(made, tokenizing.train(settings, _Texts(texts)).to_str())
    return Tokenizer.from_str(made.read_text(encoding="utf-8")), said, [text.below for text in texts]


def check_none_taught(portion: Portion, used: Used, below: float) -> None:
    """Raises BadInput where a held-out document may have taught the tokenizer, whose own were held out `below`.

    It may where the tokens end before the fraction holds out a document: then the lowest of those read is held out,
    and which those are, the tokenizer decides.
    """
    if used.below > below:
        message = f"of the documents of the first {portion.max_tokens:,} training tokens, the fraction holds out none"
        hint = "give more tokens, a larger validation.fraction, or a tokenizer.file"
        raise BadInput(Problem(message, portion.source.name, "max_tokens", hint))


def _learnt_from(portion: Portion, shards: Shards, fraction: float, watch: Watch | None) -> _Pieces:
    """Reads what is to be learnt from."""
    read: list[Shard] = []
    training, wanted = 0, portion.weight * LEARNT_BYTES
    done = Progress("reading", portion.source.name, of_bytes=shards.bytes)
    for shard in shards:
        read.append(shard)
        index = shard.index()
        training += int(index["bytes"][index["place"] >= fraction].sum())
        done = done._replace(bytes=done.bytes + int(index["bytes"].sum()))
        if watch:
            watch(done)
        if portion.max_tokens is not None and training >= wanted:
            return _Pieces(read, fraction, 1, training, f"the first {training:,} bytes of training text")
    below = held_out_below((shard.index()["place"] for shard in read), fraction)
    training = sum(int(index["bytes"][index["place"] >= below].sum()) for index in map(Shard.index, read))
    every = max(1, math.ceil(training / wanted))
    said = "all training text" if every == 1 else f"one piece in {every}"
    return _Pieces(read, below, every, training // every, said)


@dataclass(frozen=True)
class _Pieces:
    """One of so many pieces of the training documents; each iteration starts anew, as training a tokenizer needs it.

    `bytes` is about how many all of them are, `said` which.
    """

    shards: Sequence[Shard]
    below: float
    every: int
    bytes: int
    said: str

    def __iter__(self) -> Iterator[str]:
        parts = chain.from_iterable(shard.parts(shard.index()["place"] >= self.below) for shard in self.shards)
        return (piece.text for piece in islice(pieces(parts, WordEncoder.cut), 0, None, self.every))


@dataclass(frozen=True)
class _Texts:
    """Several such, one after the other."""

    all: Iterable[Iterable[str]]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.all)


def _copy(path: Path, file: BinaryIO, wanted: np.ndarray, ends: np.ndarray) -> None:
    """Copies the wanted documents' tokens, neighbours at once; document i ends at byte ends[i]."""
    change = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
    with path.open("rb") as source:
        for first, last in change.reshape(-1, 2).tolist():
            start = int(ends[first - 1]) if first else 0
            source.seek(start)
            for block in blocks(source, int(ends[last - 1]) - start):
                file.write(block)
