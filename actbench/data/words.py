"""Encodes texts word by word: a word that comes again is looked up instead of encoded, a few times faster.

This is exact where a tokenizer works on words, one after the other, and knows where they end by the characters around.
BERT's and GPT-2's rules do: both part a text before white space, and letters or digits from punctuation.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

Parts = Callable[[str], Iterable[str]]  # a word, normalised and cut, as the tokenizer's model is given it

_MARK = r"[!-&(-/:-@\[-`{-~]"  # ASCII's punctuation without the apostrophe, as GPT-2 has words like 's
_PLAIN = r"[A-Za-z0-9]"  # no other letter: an accent might follow as a character of its own


def _word(not_spaces: str) -> tuple[str, str]:
    """Patterns of white space and of a word, where of Python's white space `not_spaces` are none."""
    space, solid = rf"[^\S{not_spaces}]", rf"[\S{not_spaces}]"
    # Marks stand apart, because "word," and "word" would be two entries.
    return space, rf"(?:{_PLAIN}++(?={_MARK}|{space}|\Z)|{_MARK}++(?={_PLAIN})|{solid}++)"


# BERT's rules take controls away and join what they parted.
_BERT_WORD = re.compile(_word(r"\x0b\x0c\x1c-\x1f\x85")[1])
# To GPT-2's they are white space, but for four; white space counts, and belongs to what follows. What most words look
# like is tried first.
_GPT2_WORD = re.compile(" {2}++(?={3}|[ \\n])|{0}*+{1}|{0}++\\Z".format(*_word(r"\x1c-\x1f"), _PLAIN, _MARK))

# Letters alone or digits alone, as most words are: GPT-2's rules do not part them.
_is_one_part = re.compile(r" ?(?:[A-Za-z]+|[0-9]+)").fullmatch

_LONG = 32  # characters: lines of a script without spaces, most of all
_MOST_CHARACTERS = 1 << 21  # of the words known at a time: some 60 MB


class Encoder:
    """A tokenizer's tokens of texts, without special tokens, as the bytes of an array of `dtype`."""

    # A line break between two non-spaces: no usual rule for words looks across it.
    cut = re.compile(r"(?<=\S)\n(?=\S)")  # before each match a text can be parted without changing its tokens

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype):
        self.tokenizer, self.dtype = tokenizer, dtype

    def __call__(self, texts: list[str]) -> list[bytes]:
        """Each text's tokens."""
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [array(self.dtype.char, encoding.ids).tobytes() for encoding in encodings]


class WordEncoder(Encoder):
    """The same, faster, for a tokenizer whose words are what `word` matches, and whose model reads `parts` of them."""

    cut = re.compile(r"(?<=\S)[ \n](?=\S)")  # spaces too: there are texts without a line break

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, word: re.Pattern[str], parts: Parts):
        super().__init__(tokenizer, dtype)
        self._words_of, self._known = word.findall, _Known(tokenizer, dtype, parts)

    def __call__(self, texts: list[str]) -> list[bytes]:
        """Each text's tokens."""
        tokens = [b"".join(map(self._known.__getitem__, self._words_of(text))) for text in texts]
        if self._known.characters > _MOST_CHARACTERS:
            self._known.forget()
        return tokens


class _Known(dict[str, bytes]):
    """The tokens of every word that was asked for.

    They come from the tokenizer's parts, one by one: the whole tokenizer is made for long texts and takes three
    times as long for a word.
    """

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, parts: Parts):
        super().__init__()
        self._parts, self._tokens, self._type = parts, tokenizer.model.tokenize, dtype.char
        self._whole = tokenizer.encode
        self.characters = 0

    def __missing__(self, word: str) -> bytes:
        if len(word) > _LONG:
            ids = self._whole(word, add_special_tokens=False).ids
        else:
            ids = [token.id for part in self._parts(word) for token in self._tokens(part)]
        found = self[word] = array(self._type, ids).tobytes()
        self.characters += len(word)
        return found

    def forget(self) -> None:
        """All of them."""
        self.clear()
        self.characters = 0


def encoder(tokenizer: Tokenizer, dtype: np.dtype) -> Encoder:
    """The fastest exact way to encode with this tokenizer; special tokens in a text are to be text."""
    dropping = isinstance(tokenizer.model, models.BPE) and tokenizer.model.dropout  # a word has many encodings
    others = not all(token.special for token in tokenizer.get_added_tokens_decoder().values())  # they may hold a space
    if not dropping and not others:
        rules, before = tokenizer.pre_tokenizer, tokenizer.normalizer
        if isinstance(rules, pre_tokenizers.BertPreTokenizer) and isinstance(before, normalizers.BertNormalizer):
            return WordEncoder(tokenizer, dtype, _BERT_WORD, partial(_bert_parts, rules, before))
        if _gpt2(tokenizer):
            return WordEncoder(tokenizer, dtype, _GPT2_WORD, partial(_gpt2_parts, rules))
    return Encoder(tokenizer, dtype)


def _gpt2(tokenizer: Tokenizer) -> bool:
    rules = tokenizer.pre_tokenizer
    if not isinstance(rules, pre_tokenizers.ByteLevel) or tokenizer.normalizer is not None:
        return False
    return rules.use_regex and not rules.add_prefix_space


def _bert_parts(rules: pre_tokenizers.BertPreTokenizer, before: normalizers.BertNormalizer, word: str) -> Iterable[str]:
    return [part for part, _ in rules.pre_tokenize_str(before.normalize_str(word))]


def _gpt2_parts(rules: pre_tokenizers.ByteLevel, word: str) -> Iterable[str]:
    if _is_one_part(word):
        return (word.replace(" ", "\u0120"),)  # as it spells a space
    return [part for part, _ in rules.pre_tokenize_str(word)]
