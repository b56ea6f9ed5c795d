"""Which documents are held out, and how documents are cut and batched on their way to the tokenizer."""

from __future__ import annotations

from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.config.schema import TokenizerSection
from actbench.data import packing, splitting
from actbench.data import tokenizer as tokenizing

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


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_documents_split_depends_on_its_text_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    scratch = tmp_path_factory.getbasetemp() / "scratch"
    texts = [f"document {number}" for number in range(60)]
    some = data.draw(st.permutations(texts)) + data.draw(st.lists(st.text(min_size=1)))
    corpus = splitting.split(some, 0.3, scratch)
    held = list(corpus.validation)
    assert held == [text for text in some if not text.isspace() and splitting.split_hash(text) < 0.3]
    assert list(corpus.train) == [text for text in some if not text.isspace() and text not in held]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b's", " ", "\n", "\r\n", "don't", "ü", "e\u0301", "123", "!"]), max_size=60))
@pytest.mark.parametrize("tokenizer", [SMALL_BPE, SMALL_WORDPIECE], ids=["byte_bpe", "wordpiece"])
def test_a_long_document_in_pieces_gives_the_same_tokens(tokenizer: Any, parts: list[str]) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_PIECE_CHARACTERS", 3)
        pieces = list(packing._pieces(text))
    assert "".join(pieces) == text
    ids = [token for piece in pieces for token in tokenizer.encode(piece, add_special_tokens=False).ids]
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_long_document_is_cut() -> None:
    text = "line\n" * 200_000
    assert max(map(len, packing._pieces(text))) < 2 * packing._PIECE_CHARACTERS


def test_packing_reads_no_further_than_it_must() -> None:
    """Memory stays bounded: the first batch comes before the second million characters are read."""
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield "x" * 1000

    next(packing._batches(endless()))
    assert taken * 1000 <= packing._BATCH_CHARACTERS + 1000
