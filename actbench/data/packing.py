"""Packs a corpus into two memory-mapped arrays of tokens, once: training documents and held-out documents.

A document is held out when a hash of its text says so, whatever stands around it. The tokenizer is trained on
the training documents alone. Neither the corpus nor a long document is ever in memory as a whole: they are copied
to scratch files while they are counted, and read from there by the tokenizer's trainer and by the packing. The trainer
keeps every different word, so of a large corpus it reads pieces from all over, LEARNT_BYTES of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import Tokenizer

from actbench.config.schema import CheckpointCorpus, Corpus, FilesCorpus, HubCorpus, TokenizerSection
from actbench.data import builtin, cache, documents
from actbench.data import tokenizer as tokenizing
from actbench.data.documents import Part
from actbench.data.splitting import Split, split
from actbench.data.words import WordEncoder, encoder
from actbench.errors import BadInput, Problem

FORMAT = 1  # raise with every change that alters the tokens of an unchanged corpus
TOKENIZER_FILE = "tokenizer.json"
SPLITS = ("train", "validation")
LEARNT_BYTES = 64 << 20  # about as much text as a tokenizer is learnt from

Say = Callable[[str], None]

_BATCH_CHARACTERS = 1 << 20
_PIECE_CHARACTERS = 1 << 18


@dataclass(frozen=True)
class TokenData:
    """A packed corpus.

    train, validation: 1-D memory-mapped uint16 or uint32 token ids of the split's documents, in order.
        Byte-level BPE puts the end-of-text token after each document; WordPiece puts nothing between them.
    tokenizer_file: the tokenizer.json in the cache.
    hash: sha256 over everything that decides the tokens.
    facts: JSON data for the manifest; `splits` holds each split's documents, characters, UTF-8 bytes, tokens.
    """

    train: np.ndarray
    validation: np.ndarray
    tokenizer_file: Path
    hash: str
    facts: dict[str, Any]


def prepare(corpus: Corpus, tokenizer: TokenizerSection, validation_fraction: float, say: Say) -> TokenData:
    """The corpus' tokens, from the cache or packed now; `say` is told which and why.

    Raises BadInput when the corpus or tokenizer cannot be used, RunFailed when the cache cannot be written.
    """
    source = open_source(corpus, say)
    loaded = _load(tokenizer) if tokenizer.file is not None else None
    key = _sha256_of_json(
        {
            "format": FORMAT,
            "source": source.key,
            "tokenizer": _sha256(loaded.to_str()) if loaded else [tokenizer.model_dump(mode="json"), LEARNT_BYTES],
            "library": tokenizers.__version__,
            "validation_fraction": validation_fraction,
        }
    )
    build = partial(_pack, source, tokenizer, loaded, validation_fraction, say)
    entry = cache.fetch("tokens", key[:32], build, say, f"tokens of {source.name}")
    # The entry may have been packed from the same text elsewhere: where it was read from is told anew.
    facts = entry.facts | {"corpus": source.facts}
    dtype = np.dtype(facts["dtype"])
    train, validation = (np.memmap(entry.folder / f"{split}.bin", dtype=dtype, mode="r") for split in SPLITS)
    return TokenData(train, validation, entry.folder / TOKENIZER_FILE, facts["hash"], facts)


def verify(data: TokenData) -> list[str]:
    """What is wrong with the packed files when every byte is read; empty when nothing is."""
    folder = data.tokenizer_file.parent
    entry = cache.open_entry(folder.parent.name, folder.name)
    return [f"{folder}: not a whole cache entry"] if entry is None else cache.verify(entry)


def pack_texts(tokenizer_file: Path, texts: Iterable[str]) -> np.ndarray:
    """The documents' tokens, 1-D in memory, with the same separators and types as `prepare` writes."""
    tokenizer = tokenizing.load(tokenizer_file)
    return np.concatenate([np.empty(0, _dtype(tokenizer)), *_token_chunks(tokenizer, documents.whole(texts))])


def open_source(corpus: Corpus, say: Say) -> documents.Source:
    """What a recipe's corpus section names. Raises BadInput when it cannot be found."""
    if isinstance(corpus, CheckpointCorpus):
        message = f"{corpus.checkpoint} came ready: the text that it was trained on is not known here"
        raise BadInput(Problem(message, key="corpus.source", hint="actbench runs import-hf takes such a model in"))
    if isinstance(corpus, FilesCorpus):
        return documents.files_source(corpus.files, corpus.text_field)
    if isinstance(corpus, HubCorpus):
        from actbench.data.hub import hub_source

        return hub_source(corpus, say)
    versions = {"source": "builtin", "versions": builtin.versions()}
    return documents.Source(
        "the builtin corpus", versions, versions, lambda: documents.whole(builtin.cached_documents(say))
    )


def _load(settings: TokenizerSection) -> Tokenizer:
    path = Path(str(settings.file))
    tokenizer = tokenizing.load(path, settings.lowercase)
    tokenizing.check_kind(tokenizer, settings, path)
    return tokenizer


def _pack(
    source: documents.Source,
    settings: TokenizerSection,
    loaded: Tokenizer | None,
    fraction: float,
    say: Say,
    folder: Path,
) -> dict[str, Any]:
    """Fills a cache entry's folder and returns its facts."""
    scratch = folder / "scratch"
    corpus = split(source.parts(), fraction, scratch)
    every = max(1, math.ceil(corpus.train.bytes / LEARNT_BYTES))
    tokenizer = loaded or tokenizing.train(settings, _Pieces(corpus.train, every))
    text = tokenizer.to_str()
    (folder / TOKENIZER_FILE).write_text(text, encoding="utf-8")
    splits = {
        "train": _write_tokens(tokenizer, corpus.train, folder / "train.bin"),
        "validation": _write_tokens(tokenizer, corpus.validation, folder / "validation.bin"),
    }
    shutil.rmtree(scratch)
    for name, tally in splits.items():
        if not tally["tokens"]:
            raise BadInput(Problem(f"the {name} documents hold no tokens", source.name, "corpus"))
        say(f"tokens of {source.name}: {tally['tokens']:,} {name} tokens of {tally['documents']:,} documents")
    decides = {
        "format": FORMAT,
        "text_sha256": corpus.sha256,
        "tokenizer_sha256": _sha256(text),
        "validation_fraction": fraction,
    }
    return {
        **decides,
        "hash": _sha256_of_json(decides),
        "dtype": _dtype(tokenizer).name,
        "vocabulary_size": tokenizing.vocabulary_size(tokenizer),
        "tokenizer_learnt_from": None if loaded else ("all training text" if every == 1 else f"one piece in {every}"),
        "tokenizers_version": tokenizers.__version__,
        "empty_documents": corpus.empty,
        "splits": splits,
    }


def _write_tokens(tokenizer: Tokenizer, parts: Split, path: Path) -> dict[str, int]:
    """Writes a split's tokens and returns its numbers of documents, characters, UTF-8 bytes and tokens."""
    tally = {"documents": 0, "characters": 0, "bytes": 0, "tokens": 0}

    def counted() -> Iterator[Part]:
        for part in parts:
            tally["documents"] += part.ends
            tally["characters"] += len(part.text)
            tally["bytes"] += len(part.text.encode())
            yield part

    with path.open("wb") as file:
        for chunk in _token_chunks(tokenizer, counted()):
            file.write(chunk.tobytes())
            tally["tokens"] += len(chunk)
    return tally


def _token_chunks(tokenizer: Tokenizer, parts: Iterable[Part]) -> Iterator[np.ndarray]:
    """The documents' tokens, in arrays of about a million characters' worth."""
    tokenizer.encode_special_tokens = True  # "<|endoftext|>" in a text is text
    separator = tokenizing.special_tokens(tokenizer).end_of_text
    dtype = _dtype(tokenizer)
    end = b"" if separator is None else np.array(separator, dtype).tobytes()
    encode = encoder(tokenizer, dtype)
    for batch in _batches(_pieces(parts, encode.cut)):
        tokens = encode([piece.text for piece in batch])
        yield np.frombuffer(
            b"".join(own + end if piece.ends else own for own, piece in zip(tokens, batch, strict=True)), dtype
        )


def _batches(pieces: Iterable[Part]) -> Iterator[list[Part]]:
    """Pieces by the million characters."""
    batch: list[Part] = []
    characters = 0
    for piece in pieces:
        batch.append(piece)
        characters += len(piece.text)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _pieces(parts: Iterable[Part], cut: re.Pattern[str]) -> Iterator[Part]:
    """The documents parted anew, where it leaves the tokens as they are: a long piece would need much memory."""
    text, seen = "", 0
    for part in parts:
        text += part.text
        while found := cut.search(text, max(_PIECE_CHARACTERS, seen)):
            yield Part(text[: found.start()], False)
            text, seen = text[found.start() :], 0
        seen = len(text) - 1  # of which the cut may still need to see what follows
        if part.ends:
            yield Part(text, True)
            text, seen = "", 0


@dataclass(frozen=True)
class _Pieces:
    """One of so many pieces of a split's documents; each iteration starts anew, as a tokenizer's training needs it."""

    parts: Iterable[Part]
    every: int

    def __iter__(self) -> Iterator[str]:
        return (piece.text for piece in islice(_pieces(self.parts, WordEncoder.cut), 0, None, self.every))


def _dtype(tokenizer: Tokenizer) -> np.dtype:
    return np.dtype(np.uint16 if tokenizing.vocabulary_size(tokenizer) <= 1 << 16 else np.uint32)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256_of_json(data: dict[str, Any]) -> str:
    return _sha256(json.dumps(data, sort_keys=True))
