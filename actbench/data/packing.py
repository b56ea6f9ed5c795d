"""Packs a corpus into two memory-mapped arrays of tokens, once: training documents and held-out documents.

A document is held out when a hash of its text says so, whatever stands around it. The tokenizer is trained on
the training documents alone. Neither the corpus nor a long document is ever in memory as a whole: they are copied
to scratch files, a shard after the other (shards.py), and read from there by the tokenizer's trainer and by the
processes that tokenise (tokenising.py). What is stopped goes on from its finished shards. The parts of a mixture are
packed one after the other, whatever their weights: batches choose among them (mixture.py).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import Tokenizer

from actbench.config.corpus import Corpus
from actbench.config.schema import TokenizerSection
from actbench.data import cache, documents
from actbench.data import tokenizer as tokenizing
from actbench.data.portions import (
    LEARNT_BYTES,
    Portion,
    Used,
    Watch,
    check_none_taught,
    learn,
    open_source,
    portions,
    use,
)
from actbench.data.shards import Shards
from actbench.data.tokenising import Packer, token_type
from actbench.errors import BadInput, Problem

FORMAT = 1  # raise with every change that alters the tokens of an unchanged corpus
TOKENIZER_FILE = "tokenizer.json"
SPLITS = ("train", "validation")

Say = Callable[[str], None]


@dataclass(frozen=True)
class TokenData:
    """A packed corpus.

    train, validation: 1-D memory-mapped uint16 or uint32 token ids of the split's documents, in order.
        Byte-level BPE puts the end-of-text token after each document; WordPiece puts nothing between them.
    tokenizer_file: the tokenizer.json in the cache.
    hash: sha256 over everything that decides the tokens.
    facts: JSON data for the manifest; `splits` holds each split's documents, characters, UTF-8 bytes, tokens. Of a
        mixture, `parts` holds the weight of each part (all together 1) and its splits, which follow one another.
    built: it was packed just now, not found.
    """

    train: np.ndarray
    validation: np.ndarray
    tokenizer_file: Path
    hash: str
    facts: dict[str, Any]
    built: bool


def prepare(
    corpus: Corpus,
    tokenizer: TokenizerSection,
    validation_fraction: float,
    say: Say,
    jobs: int = 1,
    watch: Watch | None = None,
) -> TokenData:
    """The corpus' tokens, from the cache or packed now; `say` is told which and why, `watch` how it gets on.

    The number of processes, `jobs`, changes nothing but the time. Raises BadInput when the corpus or tokenizer cannot
    be used, RunFailed when the cache cannot be written, a process dies or a connection is lost.
    """
    own = portions(corpus, say)
    loaded = _load(tokenizer) if tokenizer.file is not None else None
    name = " + ".join(portion.source.name for portion in own)
    key = {
        "format": FORMAT,
        **_key(own, weighted=loaded is None),
        "tokenizer": _sha256(loaded.to_str()) if loaded else [tokenizer.model_dump(mode="json"), LEARNT_BYTES],
        "library": tokenizers.__version__,
        "validation_fraction": validation_fraction,
    }
    build = partial(_pack, own, name, tokenizer, loaded, validation_fraction, say, jobs, watch)
    entry = cache.fetch("tokens", _sha256_of_json(key)[:32], partial(_restartable, build), say, f"tokens of {name}")
    facts = entry.facts | _read_from(own)
    dtype = np.dtype(facts["dtype"])
    train, validation = (np.memmap(entry.folder / f"{split}.bin", dtype=dtype, mode="r") for split in SPLITS)
    return TokenData(train, validation, entry.folder / TOKENIZER_FILE, facts["hash"], facts, entry.built)


def prepare_text(corpus: Corpus, tokenizer_file: Path, say: Say) -> tuple[np.ndarray, dict[str, Any]]:
    """All of a corpus' documents as tokens of a ready tokenizer, 1-D and memory-mapped, and facts with their `hash`.

    Raises as `prepare`.
    """
    own, loaded = portions(corpus, say), tokenizing.load(tokenizer_file)
    name = " + ".join(portion.source.name for portion in own)
    decides = {"format": FORMAT, **_key(own, weighted=False), "tokenizer_sha256": _sha256(loaded.to_str())}
    key = _sha256_of_json({**decides, "library": tokenizers.__version__})

    def build(folder: Path) -> dict[str, Any]:
        work = cache.work_folder(folder)
        used = [use(portion, _shards(work, i, portion), loaded, None, 1, None) for i, portion in enumerate(own)]
        with (folder / "text.bin").open("wb") as file:
            tallies = [one.write(file, held_out=False) for one in used]
        tally = _total(tallies)
        if not tally["tokens"]:
            raise BadInput(Problem("holds no text", name))
        text_sha256 = _sha256_of_json([one.sha256() for one in used])
        said = {"text_sha256": text_sha256, "tokenizer_sha256": decides["tokenizer_sha256"]}
        return {"hash": _sha256_of_json(said), **said, "dtype": token_type(loaded).name, **tally}

    entry = cache.fetch("texts", key[:32], partial(_restartable, build), say, f"tokens of {name}")
    return np.memmap(entry.folder / "text.bin", np.dtype(entry.facts["dtype"]), "r"), entry.facts | _read_from(own)


def verify(data: TokenData) -> list[str]:
    """What is wrong with the packed files when every byte is read; empty when nothing is."""
    folder = data.tokenizer_file.parent
    entry = cache.open_entry(folder.parent.name, folder.name)
    return [f"{folder}: not a whole cache entry"] if entry is None else cache.verify(entry)


def pack_texts(tokenizer_file: Path, texts: Iterable[str], *, ends: bool = True) -> np.ndarray:
    """The documents' tokens, 1-D in memory, with the same separators and types as `prepare` writes.

    `ends` False is for an encoder that came ready: RoBERTa has GPT-2's end-of-text token, and never saw it.
    """
    packer = Packer(tokenizing.load(tokenizer_file), ends=ends)
    chunks = (np.frombuffer(chunk, packer.dtype) for chunk, _ in packer.chunks(documents.whole(texts)))
    return np.concatenate([np.empty(0, packer.dtype), *chunks])


def _load(settings: TokenizerSection) -> Tokenizer:
    path = Path(str(settings.file))
    tokenizer = tokenizing.load(path, settings.lowercase)
    tokenizing.check_kind(tokenizer, settings, path)
    return tokenizer


def _key(own: list[Portion], *, weighted: bool) -> dict[str, Any]:
    """What decides the text, and with `weighted` how much of each part a tokenizer is learnt from."""
    if len(own) == 1:
        bound = {} if own[0].max_tokens is None else {"max_tokens": own[0].max_tokens}
        return {"source": own[0].source.key, **bound}
    return {"parts": [[one.source.key, one.max_tokens, one.weight if weighted else None] for one in own]}


def _read_from(own: list[Portion]) -> dict[str, Any]:
    """An entry may have been packed from the same text elsewhere: where it was read from is told anew."""
    if len(own) == 1:
        return {"corpus": own[0].source.facts}
    return {"corpus": {"source": "mixture", "parts": [one.source.facts | {"weight": one.weight} for one in own]}}


def _shards(work: Path, number: int, portion: Portion) -> Shards:
    return Shards(portion.source, work / f"part-{number}")


def _restartable(build: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Builds; where that fails before anything is finished, nothing is left."""
    work = cache.work_folder(folder)
    try:
        return build(folder)
    except BaseException:
        if next(work.rglob("*.json"), None) is None:
            shutil.rmtree(work, ignore_errors=True)
        raise


def _pack(
    own: list[Portion],
    name: str,
    settings: TokenizerSection,
    loaded: Tokenizer | None,
    fraction: float,
    say: Say,
    jobs: int,
    watch: Watch | None,
    folder: Path,
) -> dict[str, Any]:
    """Fills a cache entry's folder and returns its facts."""

    work = cache.work_folder(folder)
    shards = [_shards(work, number, portion) for number, portion in enumerate(own)]
    ready = (loaded, None, [1.0] * len(own)) if loaded else None
    tokenizer, learnt_from, taught_none_below = ready or learn(settings, own, shards, fraction, work, watch)
    text = tokenizer.to_str()
    (folder / TOKENIZER_FILE).write_text(text, encoding="utf-8")
    used = [use(portion, some, tokenizer, fraction, jobs, watch) for portion, some in zip(own, shards, strict=True)]
    for portion, one, below in zip(own, used, taught_none_below, strict=True):
        check_none_taught(portion, one, below)
    tallies = {split: _write_split(used, folder / f"{split}.bin", split) for split in SPLITS}
    splits = {split: _total(each) for split, each in tallies.items()}
    for split, tally in splits.items():
        if not tally["tokens"]:
            raise BadInput(Problem(f"the {split} documents hold no tokens", name, "corpus"))
        say(f"tokens of {name}: {tally['tokens']:,} {split} tokens of {tally['documents']:,} documents")
    hashes = [one.sha256() for one in used]
    decides = {
        "format": FORMAT,
        "text_sha256": hashes[0] if len(own) == 1 else _sha256_of_json(hashes),
        "tokenizer_sha256": _sha256(text),
        "validation_fraction": fraction,
    }
    parts = [
        {"weight": portion.weight, "splits": {split: tallies[split][number] for split in SPLITS}}
        for number, portion in enumerate(own)
    ]
    return {
        **decides,
        "hash": _sha256_of_json(decides),
        "dtype": token_type(tokenizer).name,
        "vocabulary_size": tokenizing.vocabulary_size(tokenizer),
        "tokenizer_learnt_from": learnt_from,
        "tokenizers_version": tokenizers.__version__,
        "empty_documents": sum(one.empty for one in used),
        "splits": splits,
        **({"parts": parts} if len(own) > 1 else {}),
    }


def _write_split(used: list[Used], path: Path, split: str) -> list[dict[str, int]]:
    """Writes a split's tokens, part by part, and returns each part's tally."""
    with path.open("wb") as file:
        return [one.write(file, held_out=split == "validation") for one in used]


def _total(tallies: list[dict[str, int]]) -> dict[str, int]:
    return {key: sum(tally[key] for tally in tallies) for key in tallies[0]}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256_of_json(data: Any) -> str:
    return _sha256(json.dumps(data, sort_keys=True))


__all__ = ["TokenData", "open_source", "pack_texts", "prepare", "prepare_text", "verify"]
