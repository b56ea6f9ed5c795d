"""Encodes texts word by word: a word that comes again is looked up instead of encoded, a few times faster.

This is exact where a tokenizer works on words, one after the other, and knows where they end by the characters around.
BERT's and GPT-2's rules do: both part a text before white space, and letters or digits from punctuation.
"""

from __future__ import annotations

import re
from array import array

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

_MARK = r"[!-&(-/:-@\[-`{-~]"  # ASCII's punctuation without the apostrophe, as GPT-2 has words like 's
_PLAIN = r"[A-Za-z0-9]"  # no other letter: an accent might follow as a character of its own


def _word(not_spaces: str) -> tuple[str, str]:
    """Patterns of white space and of a word, where of Python's white space `not_spaces` are none."""
    space, solid = rf"[^\S{not_spaces}]", rf"[\S{not_spaces}]"
    # Marks stand apart, because "word," and "word" would be two entries.
    return space, rf"(?:{_PLAIN}++(?={_MARK}|{space}|\Z)|{_MARK}++(?={_PLAIN})|{solid}++)"


# BERT's rules take controls away and join what they parted.
_BERT_WORD = re.compile(_word(r"\x0b\x0c\x1c-\x1f\x85")[1])
# To GPT-2's they are white space, but for four; white space counts, and belongs to what follows.
_GPT2_WORD = re.compile("{0}*+{1}|{0}++\\Z".format(*_word(r"\x1c-\x1f")))

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
    """The same, faster, for a tokenizer whose words are what `word` matches."""

    cut = re.compile(r"(?<=\S)[ \n](?=\S)")  # spaces too: there are texts without a line break

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, word: re.Pattern[str]):
        super().__init__(tokenizer, dtype)
        self._words_of = word.findall
        self._known: dict[str, bytes] = {}
        self._characters = 0  # of the known words

    def __call__(self, texts: list[str]) -> list[bytes]:
        """Each text's tokens."""
        words = [self._words_of(text) for text in texts]
        new = list(set().union(*words).difference(self._known))
        self._known.update(zip(new, super().__call__(new), strict=True))
        tokens = [b"".join(map(self._known.__getitem__, found)) for found in words]
        self._characters += sum(map(len, new))
        if self._characters > _MOST_CHARACTERS:
            self._known, self._characters = {}, 0
        return tokens


def encoder(tokenizer: Tokenizer, dtype: np.dtype) -> Encoder:
    """The fastest exact way to encode with this tokenizer; special tokens in a text are to be text."""
    word = _word_pattern(tokenizer)
    return Encoder(tokenizer, dtype) if word is None else WordEncoder(tokenizer, dtype, word)


def _word_pattern(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """The words of BERT's or GPT-2's rules, or None for a tokenizer of other ones."""
    if not all(token.special for token in tokenizer.get_added_tokens_decoder().values()):
        return None  # an added token may hold a space
    if isinstance(tokenizer.model, models.BPE) and tokenizer.model.dropout:
        return None
    rules, before = tokenizer.pre_tokenizer, tokenizer.normalizer
    if isinstance(rules, pre_tokenizers.BertPreTokenizer) and isinstance(before, normalizers.BertNormalizer):
        return _BERT_WORD
    if isinstance(rules, pre_tokenizers.ByteLevel) and before is None:
        return _GPT2_WORD if rules.use_regex and not rules.add_prefix_space else None
    return None
