"""Encoding word by word gives the tokens that encoding as a whole gives, and encodes no word twice."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from actbench.config.schema import TokenizerSection
from actbench.data import tokenizer as tokenizing
from actbench.data import words
from actbench.data.words import Encoder, WordEncoder, encoder

TEXTS = [topics[name] for name in sorted(topics)][:10]
# What a careless cut would part, often enough to become tokens.
ODD = [
    "a\n\n\nb",
    "x  y",
    "don't",
    "!\x1c!",
    "\xa0\n",
    "b\x1cb",
    "\u3000 a",
    '."\n',
    "e\u0301,",
    "€,",
    "a\u2028\u2028",
    "b\x0b\n",
]
KINDS = ("byte_bpe", "wordpiece")
UINT16 = np.dtype(np.uint16)


def trained(kind: str) -> Tokenizer:
    section = TokenizerSection(kind=kind, vocab_size=800)
    tokenizer = tokenizing.train(section, [*TEXTS, *(part * 200 for part in ODD)])
    tokenizer.encode_special_tokens = True
    return tokenizer


TOKENIZERS = {kind: trained(kind) for kind in KINDS}


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def by_words(tokenizer: Tokenizer, *texts: str) -> list[list[int]]:
    return [np.frombuffer(tokens, UINT16).tolist() for tokens in encoder(tokenizer, UINT16)(list(texts))]


@pytest.mark.parametrize("kind", KINDS)
def test_text_has_the_same_tokens(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    assert type(encoder(tokenizer, UINT16)) is WordEncoder
    assert by_words(tokenizer, *TEXTS, *ODD) == [whole(tokenizer, text) for text in [*TEXTS, *ODD]]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from([*ODD, *"ab1 \n\t\r\v.,'\"-_", "’", "ß", "漢", "[SEP]"]), st.text()), max_size=30
    )
)
@pytest.mark.parametrize("kind", KINDS)
def test_any_text_has_the_same_tokens(kind: str, parts: list[str]) -> None:
    text = "".join(parts)
    assert by_words(TOKENIZERS[kind], text) == [whole(TOKENIZERS[kind], text)]


def library_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words of a text by the tokenizer's own rules."""
    text = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_character_is_on_the_right_side_of_a_cut(kind: str) -> None:
    """All of what Unicode calls separators, controls, marks, punctuation and symbols, and the first letters."""
    tokenizer = TOKENIZERS[kind]
    find = encoder(tokenizer, UINT16)._words_of  # type: ignore[attr-defined]
    wrong = []
    for c in map(chr, range(0x30000)):
        if c > "\u0600" and unicodedata.category(c)[0] not in "ZMPS" and unicodedata.category(c) not in ("Cc", "Cf"):
            continue
        text = f"a{c}a {c}{c} .{c}. a,{c} \n{c} a{c}\n'{c}'"
        if [w for word in find(text) for w in library_words(tokenizer, word)] != library_words(tokenizer, text):
            wrong.append(hex(ord(c)))
    assert not wrong


def test_published_vocabularies_go_word_by_word(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*tokenizing.BERT_SPECIALS, "the"]), encoding="utf-8")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = {piece: index for index, piece in enumerate([*alphabet, "th", tokenizing.END_OF_TEXT])}
    (tmp_path / "encoder.json").write_text(json.dumps(pieces), encoding="utf-8")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nt h\n", encoding="utf-8")
    for name in ("vocab.txt", "encoder.json"):
        tokenizer = tokenizing.load(tmp_path / name)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        for one in (tokenizer, tokenizing.load(tmp_path / "tokenizer.json")):
            assert type(encoder(one, UINT16)) is WordEncoder


def other(what: str) -> Tokenizer:
    """A tokenizer whose words depend on more than what stands around them."""
    tokenizer = Tokenizer(models.BPE(dropout=0.5 if "dropout" in what else None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=what == "prefix space", use_regex=what != "no regex"
    )
    if what == "own rules":
        tokenizer.pre_tokenizer = pre_tokenizers.Split("b c", "isolated")
    elif what == "normalizer":
        tokenizer.normalizer = normalizers.Replace(" ", "_")
    elif what == "BERT's rules with dropout":
        tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer()
    elif what == "added token":
        tokenizer.add_tokens([AddedToken("b c", special=False)])
    return tokenizer


@pytest.mark.parametrize(
    "what",
    [
        "dropout",
        "BERT's rules with dropout",
        "prefix space",
        "no regex",
        "own rules",
        "normalizer",
        "added token",
    ],
)
def test_a_tokenizer_with_other_rules_encodes_wholes(what: str) -> None:
    assert type(encoder(other(what), UINT16)) is Encoder


def test_a_token_with_a_space_stays_whole() -> None:
    tokenizer = trained("byte_bpe")
    tokenizer.add_tokens([AddedToken("the end", special=False)])
    assert by_words(tokenizer, "at the end,") == [whole(tokenizer, "at the end,")]
    assert 800 in by_words(tokenizer, "at the end,")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_long_words_are_given_to_the_whole_tokenizer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS[kind]
    lines = ["河水" * 40, "ab1" * 30, "x" * 33]
    encode = encoder(tokenizer, UINT16)
    monkeypatch.setattr(encode._known, "_tokens", None)
    assert [np.frombuffer(tokens, UINT16).tolist() for tokens in encode(lines)] == [
        whole(tokenizer, line) for line in lines
    ]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All words whose tokens are worked out from now on."""
    worked_out: list[str] = []
    missing = words._Known.__missing__

    def recorded(self: words._Known, word: str) -> bytes:
        worked_out.append(word)
        return missing(self, word)

    monkeypatch.setattr(words._Known, "__missing__", recorded)
    return worked_out


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_encoded_twice(kind: str, encoded: list[str]) -> None:
    encode = encoder(TOKENIZERS[kind], UINT16)
    first = encode(["the old river and the old stone", "the old, old river"])
    assert len(encoded) == len(set(encoded)) and 0 < len(encoded) <= 8
    encoded.clear()
    assert encode(["the old river and the old stone", "the old, old river"]) == first
    assert encoded == []


def test_only_so_many_words_are_remembered(monkeypatch: pytest.MonkeyPatch, encoded: list[str]) -> None:
    monkeypatch.setattr(words, "_MOST_CHARACTERS", 100)
    tokenizer = TOKENIZERS["wordpiece"]
    encode = encoder(tokenizer, UINT16)
    assert isinstance(encode, WordEncoder)
    for number in range(50):
        text = " ".join(f"w{number}x{other}" for other in range(10))
        assert np.frombuffer(encode([text])[0], UINT16).tolist() == whole(tokenizer, text)
        assert sum(map(len, encode._known)) <= 100
    assert len(encoded) == 500
