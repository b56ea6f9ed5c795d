"""Tokenizers train the same way every time, lose nothing (byte-level BPE), and load from the usual files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.config.schema import TokenizerSection
from actbench.data import tokenizer as tokenizing
from actbench.data.tokenizer import SpecialTokens
from actbench.errors import BadInput

TEXTS = [*[topics[name] for name in sorted(topics)][:30], "Füchse 漢字 ##e <|endoftext|> [MASK]"]
WORDPIECE = TokenizerSection(kind="wordpiece", vocab_size=1000)
BYTE_BPE = TokenizerSection(kind="byte_bpe", vocab_size=1000)


@pytest.fixture(scope="module")
def wordpiece():
    return tokenizing.train(WORDPIECE, TEXTS)


@pytest.fixture(scope="module")
def byte_bpe():
    return tokenizing.train(BYTE_BPE, TEXTS)


@pytest.mark.parametrize("kind", ["wordpiece", "byte_bpe"])
def test_two_processes_train_identical_files(kind: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_data_tokenizer import *;"
        "section = TokenizerSection(kind=sys.argv[2], vocab_size=1000);"
        "print(hashlib.sha256(tokenizing.train(section, TEXTS).to_str().encode()).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), kind]
    digests = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert digests == {
        hashlib.sha256(
            tokenizing.train(TokenizerSection(kind=kind, vocab_size=1000), TEXTS).to_str().encode()
        ).hexdigest()
        + "\n"
    }


def test_special_tokens_have_berts_order(wordpiece) -> None:
    assert tokenizing.special_tokens(wordpiece) == SpecialTokens(0, 1, 2, 3, 4, None)


def test_end_of_text_is_the_first_token(byte_bpe) -> None:
    assert tokenizing.special_tokens(byte_bpe) == SpecialTokens(None, None, None, None, None, 0)


def test_the_size_is_the_one_asked_for(wordpiece, byte_bpe) -> None:
    assert tokenizing.vocabulary_size(wordpiece) == tokenizing.vocabulary_size(byte_bpe) == 1000


def test_wordpiece_splits_words_as_bert_does(wordpiece) -> None:
    tokens = wordpiece.encode("The statements, Unzweifelhaft!", add_special_tokens=False).tokens
    assert tokens[0] == "the"
    assert tokens[2] == ","
    assert tokens[-1] == "!"
    assert [token for token in tokens if token.startswith("##")]
    assert wordpiece.encode("\N{SNOWMAN}").tokens == ["[UNK]"]
    assert wordpiece.decode(wordpiece.encode("the statements").ids) == "the statements"


def test_lowercase_is_optional() -> None:
    cased = tokenizing.train(TokenizerSection(kind="wordpiece", vocab_size=1000, lowercase=False), TEXTS)
    assert cased.encode("The").tokens == ["The"]


def test_only_the_five_specials_are_special(wordpiece) -> None:
    """The pieces that are named to the trainer in advance must not swallow '##e' in a text."""
    assert wordpiece.encode("##e").tokens == ["#", "#", "e"]
    assert len(wordpiece.get_added_tokens_decoder()) == 5


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_byte_bpe_decodes_what_it_encoded(text: str) -> None:
    tokenizer = _BYTE_BPE
    tokenizer.encode_special_tokens = True
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


_BYTE_BPE = tokenizing.train(TokenizerSection(kind="byte_bpe", vocab_size=400), TEXTS[:3])


def test_a_vocabulary_too_small_for_the_characters_is_refused() -> None:
    alphabet = ["".join(chr(code) for code in range(0x400, 0x530))]
    with pytest.raises(BadInput, match=r"tokenizer.vocab_size: 300 tokens have no room .*at least"):
        tokenizing.train(TokenizerSection(kind="wordpiece", vocab_size=300, lowercase=False), alphabet)


def test_rare_characters_beyond_a_thousand_are_left_out() -> None:
    texts = ["".join(chr(0x4E00 + code) for code in range(1500)), "common words " * 5]
    tokenizer = tokenizing.train(TokenizerSection(kind="wordpiece", vocab_size=2000), texts)
    assert tokenizer.encode("common").tokens[-1] != "[UNK]"
    assert tokenizer.encode(chr(0x4E00 + 1499)).tokens == ["[UNK]"]


def test_an_iterator_that_cannot_start_anew_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="starts anew"):
        tokenizing.train(WORDPIECE, iter(TEXTS))


def test_tokenizer_json_loads_without_truncation_or_padding(tmp_path: Path, byte_bpe) -> None:
    byte_bpe.enable_truncation(3)
    byte_bpe.enable_padding(length=9)
    byte_bpe.save(str(tmp_path / "tokenizer.json"))
    byte_bpe.no_truncation()
    byte_bpe.no_padding()
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = tokenizing.load(path)
        assert loaded.encode("a statement is executed").ids == byte_bpe.encode("a statement is executed").ids


def test_berts_vocab_txt(tmp_path: Path) -> None:
    tokens = [*tokenizing.BERT_SPECIALS, "the", "fox", "##es", "The"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    loaded = tokenizing.load(tmp_path / "vocab.txt")
    assert loaded.encode("The foxes [MASK]").ids == [5, 6, 7, 4]
    assert tokenizing.load(tmp_path, lowercase=False).encode("The").ids == [8]
    assert tokenizing.special_tokens(loaded) == SpecialTokens(0, 1, 2, 3, 4, None)


@pytest.mark.parametrize(("vocabulary", "merges"), [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_gpt2s_two_files(tmp_path: Path, byte_bpe, vocabulary: str, merges: str) -> None:
    model = json.loads(byte_bpe.to_str())["model"]
    words = {"model": 600, "version": 601}  # GPT-2's has both, as a tokenizer.json has them as keys
    (tmp_path / vocabulary).write_text(json.dumps(model["vocab"] | words), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    (tmp_path / merges).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for path in (tmp_path, tmp_path / vocabulary):
        loaded = tokenizing.load(path)
        assert loaded.encode(TEXTS[0]).ids == byte_bpe.encode(TEXTS[0]).ids
        assert tokenizing.special_tokens(loaded).end_of_text == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{", "cannot be read as a tokenizer"),
        (
            "tokenizer.json",
            '{"version": "1.0", "model": {"type": "Nonsense"}}',
            "cannot be read as a tokenizer",
        ),
        ("tokenizer.json", '{"some": "thing"}', "neither a tokenizer.json nor a vocabulary"),
        ("encoder.json", '{"a": 0}', "put vocab.bpe or merges.txt beside it"),
        ("vocab.txt", "a\nb\n", r"has no \[UNK\]"),
        ("vocab.txt", "[UNK]\na\na\n", "a token comes twice"),
        ("vocab.model", "", "not a tokenizer"),
    ],
)
def test_what_is_no_tokenizer_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=message) as caught:
        tokenizing.load(tmp_path / name)
    assert caught.value.problems[0].where == str(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        tokenizing.load(tmp_path / "absent.json")
    with pytest.raises(BadInput, match="holds no tokenizer"):
        tokenizing.load(tmp_path)


def test_a_loaded_tokenizer_must_be_of_the_recipes_kind(wordpiece, byte_bpe) -> None:
    path = Path("tokenizer.json")
    tokenizing.check_kind(wordpiece, WORDPIECE, path)
    tokenizing.check_kind(byte_bpe, BYTE_BPE, path)
    with pytest.raises(BadInput, match=r"set tokenizer\.kind=byte_bpe"):
        tokenizing.check_kind(byte_bpe, WORDPIECE, path)


def test_a_loaded_bert_tokenizer_needs_a_mask_token(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nfox\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"has no \[MASK\]"):
        tokenizing.check_kind(tokenizing.load(tmp_path / "vocab.txt"), WORDPIECE, tmp_path / "vocab.txt")
