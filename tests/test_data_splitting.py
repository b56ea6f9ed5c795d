"""Which documents are held out, and how documents are cut and batched on their way to the tokenizer."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.config.schema import TokenizerSection
from actbench.data import shards, splitting, tokenising
from actbench.data import tokenizer as tokenizing
from actbench.data.documents import Part, Source, whole
from actbench.data.portions import Used
from actbench.data.shards import Shards
from actbench.data.words import Encoder, WordEncoder

TEXTS = [topics[name] for name in sorted(topics)][:3]
# One that has a token for two line breaks, which a careless cut would part.
SMALL_BPE = tokenizing.train(TokenizerSection(kind="byte_bpe", vocab_size=300), [*TEXTS, "a\n\n\nb" * 999])
SMALL_WORDPIECE = tokenizing.train(TokenizerSection(kind="wordpiece", vocab_size=300), TEXTS)


def test_a_split_hash_is_for_ever() -> None:
    """Another hash would move documents from training to validation between versions."""
    assert splitting.split_hash("document") == 0.11073682280063579


def test_the_held_out_fraction_is_about_right() -> None:
    share = np.mean([splitting.split_hash(f"document {number}") < 0.05 for number in range(5000)])
    assert 0.04 < share < 0.06


def texts_of(parts: Any) -> list[str]:
    """The documents that parts make up."""
    texts = [""]
    for part in parts:
        texts[-1] += part.text
        if part.ends:
            texts.append("")
    assert texts.pop() == "", "the last part ends its document"
    return texts


def in_parts(texts: list[str], size: int) -> list[Part]:
    return [
        Part(text[start : start + size], start + size >= len(text))
        for text in texts
        for start in range(0, max(1, len(text)), size)
    ]


def divided(parts: Iterable[Part], fraction: float, folder: Path) -> tuple[list[Part], list[Part], Used]:
    """The training and the held-out documents of a source, read into shards, in parts."""
    read = list(Shards(Source("texts", {}, {}, lambda: iter(parts)), folder))
    below = splitting.held_out_below((shard.index()["place"] for shard in read), fraction)
    train, held = (
        [part for shard in read for part in shard.parts((shard.index()["place"] < below) == side)]
        for side in (False, True)
    )
    return train, held, Used(read, below, 2)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_documents_split_depends_on_its_text_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("split") / "scratch"
    texts = [f"document {number}" for number in range(60)]
    some = data.draw(st.permutations(texts)) + data.draw(st.lists(st.text(min_size=1)))
    train, validation, _ = divided(whole(some), 0.3, folder)
    held = texts_of(validation)
    assert held == [text for text in some if not text.isspace() and splitting.split_hash(text) < 0.3]
    assert texts_of(train) == [text for text in some if not text.isspace() and text not in held]


def test_documents_in_parts_are_split_as_wholes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*TEXTS, "", "Füchse 漢字 \U0001f98a" * 50, " " * 40, "\n", "a", *(f"document {n}" for n in range(30))]
    kept = [text for text in texts if text.strip()]
    for size in (1, 7, 10**9):
        monkeypatch.setattr(shards, "PART_BYTES", size)  # within a character, too
        monkeypatch.setattr(shards, "SHARD_BYTES", 100 * size)
        train, validation, corpus = divided(in_parts(texts, size), 0.2, tmp_path / str(size))
        assert len(corpus.shards) > 1 or size == 10**9
        assert texts_of(validation) == [text for text in kept if splitting.split_hash(text) < 0.2]
        assert texts_of(train) == [text for text in kept if splitting.split_hash(text) >= 0.2]
        assert corpus.empty == len(texts) - len(kept)
        assert max(len(part.text) for part in train) <= size
        records = b"".join(struct.pack("<Q", len(text.encode())) + text.encode() for text in kept)
        assert corpus.sha256() == hashlib.sha256(records).hexdigest()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b's", " ", "\n", "\r\n", "don't", "ü", "e\u0301", "123", "!"]), max_size=60))
@pytest.mark.parametrize("tokenizer", [SMALL_BPE, SMALL_WORDPIECE], ids=["byte_bpe", "wordpiece"])
@pytest.mark.parametrize("cut", [Encoder.cut, WordEncoder.cut], ids=["lines", "words"])
def test_a_long_document_in_pieces_gives_the_same_tokens(
    cut: re.Pattern[str], tokenizer: Any, parts: list[str]
) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenising, "PIECE_CHARACTERS", 3)
        pieces = list(tokenising.pieces(whole([text]), cut))
    assert texts_of(pieces) == [text]
    ids = [token for piece in pieces for token in tokenizer.encode(piece.text, add_special_tokens=False).ids]
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids


def test_pieces_do_not_tell_how_the_text_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenising, "PIECE_CHARACTERS", 50)
    texts = [*TEXTS, "", "no cut here" * 30, "line\n" * 100]
    expected = list(tokenising.pieces(whole(texts), Encoder.cut))
    assert len(expected) > 90
    for size in (1, 30, 49, 50, 51, 1000):
        assert list(tokenising.pieces(in_parts(texts, size), Encoder.cut)) == expected


@pytest.mark.parametrize("text", ["line\n" * 200_000, "word " * 200_000], ids=["lines", "words"])
def test_a_long_document_is_cut(text: str) -> None:
    pieces = tokenising.pieces(whole([text]), WordEncoder.cut)
    assert max(len(piece.text) for piece in pieces) < 2 * tokenising.PIECE_CHARACTERS


def test_packing_reads_no_further_than_it_must() -> None:
    """Memory stays bounded: the first batch comes before the second million characters are read."""
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield Part("x" * 1000, True)

    next(tokenising.batches(tokenising.pieces(endless(), Encoder.cut)))
    assert taken * 1000 <= tokenising.BATCH_CHARACTERS + 1000
