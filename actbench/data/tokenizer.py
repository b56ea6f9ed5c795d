"""Trains and loads tokenizers: WordPiece as BERT's, byte-level BPE as GPT-2's and RoBERTa's.

Training is a function of the texts: the same texts give the same bytes of tokenizer.json.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from actbench.config.schema import TokenizerSection
from actbench.errors import BadInput, Problem

END_OF_TEXT = "<|endoftext|>"
BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0..4
ROBERTA_SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")  # which stand for the same, in the same order
MERGES = ("vocab.bpe", "merges.txt")  # the first that lies beside an encoder.json
MAX_ALPHABET = 1000  # characters a WordPiece vocabulary knows; rarer ones are [UNK]
_PREFIX = "##"
_T = TypeVar("_T")


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of a tokenizer's special tokens, None where it has none."""

    pad: int | None
    unk: int | None
    cls: int | None
    sep: int | None
    mask: int | None
    end_of_text: int | None


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """The special ids by BERT's or RoBERTa's, and GPT-2's names of the tokens."""
    return SpecialTokens(*(tokenizer.token_to_id(token) for token in (*encoder_specials(tokenizer), END_OF_TEXT)))


def encoder_specials(tokenizer: Tokenizer) -> tuple[str, ...]:
    """BERT's special tokens or RoBERTa's, those of which the tokenizer has more; BERT's where it has none."""

    def known(names: tuple[str, ...]) -> int:
        return sum(tokenizer.token_to_id(token) is not None for token in names)

    return max(BERT_SPECIALS, ROBERTA_SPECIALS, key=known)


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """One more than the largest id: what an embedding needs, also where ids have gaps."""
    return max(tokenizer.get_vocab().values()) + 1


def train(settings: TokenizerSection, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of `settings.kind` with at most `settings.vocab_size` tokens.

    WordPiece reads `texts` twice, so they must be something that starts anew, not an iterator. Raises
    BadInput when the size has no room for the corpus' characters.
    """
    if settings.kind == "byte_bpe":
        return _train_byte_bpe(settings.vocab_size, texts)
    return _train_wordpiece(settings.vocab_size, settings.lowercase, texts)


def _train_byte_bpe(size: int, texts: Iterable[str]) -> Tokenizer:
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # every byte, so that nothing is unknown
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _train_wordpiece(size: int, lowercase: bool, texts: Iterable[str]) -> Tokenizer:
    if iter(texts) is texts:
        raise TypeError("texts is read twice: give an iterable that starts anew, not an iterator")
    learner = _wordpiece(models.WordPiece(unk_token="[UNK]"), lowercase)
    alphabet = _alphabet(learner, texts)
    # The trainer numbers '##x' pieces in the order of a hash table with random keys, and settles equal counts
    # by number, so that every training would end differently. Pieces named beforehand have their number
    # already.
    inner = [_PREFIX + character for character in alphabet if _continues_word(learner, character)]
    named = [*BERT_SPECIALS, *inner]
    if len(named) + len(alphabet) > size:
        raise BadInput(
            Problem(
                f"{size} tokens have no room for the corpus' {len(alphabet)} characters",
                key="tokenizer.vocab_size",
                hint=f"at least {len(named) + len(alphabet)}, or kind: byte_bpe",
            )
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=named,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    # A fresh one, because to `learner` the named pieces are special.
    return _wordpiece(models.WordPiece(learner.get_vocab(), unk_token="[UNK]"), lowercase)


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """The most frequent characters after normalisation, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    ranked = sorted((-count, character) for character, count in counts.items() if not character.isspace())
    return sorted(character for _, character in ranked[:MAX_ALPHABET])


def _continues_word(tokenizer: Tokenizer, character: str) -> bool:
    text = tokenizer.normalizer.normalize_str("a" + character)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] == ["a" + character]


def _byte_level(model: models.BPE, prefix_space: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _wordpiece(model: models.WordPiece, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_PREFIX)
    known = [token for token in BERT_SPECIALS if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in known])
    return tokenizer


def load(
    path: Path, lowercase: bool = True, *, specials: Sequence[str] = (END_OF_TEXT,), prefix_space: bool = False
) -> Tokenizer:
    """A tokenizer from a tokenizer.json, a BERT vocab.txt, a GPT-2 encoder.json, or a folder that holds one.

    Beside encoder.json (or vocab.json) lies vocab.bpe or merges.txt. `lowercase` is for vocab.txt, `specials` and
    `prefix_space` (a text begins as if after a space) for encoder.json: these do not say. A truncation or padding set
    in tokenizer.json is switched off. Raises BadInput naming the file that is missing or malformed.
    """
    path = path.expanduser()
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        raise _problem(path, "no such file")
    if path.suffix == ".txt":
        return _guarded(path, lambda: _from_vocab_txt(path, lowercase))
    if path.suffix != ".json":
        raise _problem(path, "not a tokenizer", "known: tokenizer.json, vocab.txt, encoder.json")
    content = _guarded(path, lambda: json.loads(path.read_text(encoding="utf-8")))
    if isinstance(content, dict) and isinstance(content.get("model"), dict):  # GPT-2's vocabulary has a token "model"
        tokenizer = _guarded(path, lambda: Tokenizer.from_file(str(path)))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    if not isinstance(content, dict) or not all(type(index) is int for index in content.values()):
        raise _problem(path, "neither a tokenizer.json nor a vocabulary of tokens and ids")
    return _guarded(path, lambda: _from_encoder(path, specials, prefix_space))


def kind_of(tokenizer: Tokenizer, path: Path) -> str:
    """The kind of a loaded tokenizer, as a recipe says it. Raises BadInput for another."""
    kind = {"BPE": "byte_bpe", "WordPiece": "wordpiece"}.get(type(tokenizer.model).__name__)
    if kind is None:
        raise _problem(path, f"{type(tokenizer.model).__name__} is no kind of tokenizer that is known")
    return kind


def check_kind(tokenizer: Tokenizer, settings: TokenizerSection, path: Path) -> None:
    """Raises BadInput when a loaded tokenizer is not of `settings.kind` or lacks its special tokens."""
    kind = kind_of(tokenizer, path)
    if kind != settings.kind:
        raise _problem(path, f"holds a {kind} tokenizer, the recipe says {settings.kind}", f"set tokenizer.kind={kind}")
    check_specials(tokenizer, BERT_SPECIALS if kind == "wordpiece" else (END_OF_TEXT,), path)


def check_specials(tokenizer: Tokenizer, needed: Sequence[str], path: Path) -> None:
    """Raises BadInput when a loaded tokenizer lacks some of the tokens."""
    absent = [token for token in needed if tokenizer.token_to_id(token) is None]
    if absent:
        raise _problem(path, f"has no {', '.join(absent)}")


def _file_in(folder: Path) -> Path:
    names = ("tokenizer.json", "encoder.json", "vocab.json", "vocab.txt")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise _problem(folder, "holds no tokenizer", f"looked for {', '.join(names)}")


def _from_vocab_txt(path: Path, lowercase: bool) -> Tokenizer:
    tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocabulary = {token.rstrip("\r"): index for index, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise _problem(path, "a token comes twice")
    if "[UNK]" not in vocabulary:
        raise _problem(path, "has no [UNK]", "one token a line is expected, as in BERT's vocab.txt")
    return _wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]"), lowercase)


def _from_encoder(path: Path, specials: Sequence[str], prefix_space: bool) -> Tokenizer:
    merges = [path.with_name(name) for name in MERGES]
    beside = next((file for file in merges if file.is_file()), None)
    if beside is None:
        raise _problem(path, "a vocabulary without its merges", f"put {' or '.join(MERGES)} beside it")
    tokenizer = _byte_level(models.BPE.from_file(str(path), str(beside)), prefix_space)
    known = [token for token in specials if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in known])
    return tokenizer


def _guarded(path: Path, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except BadInput:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise _problem(path, f"cannot be read as a tokenizer: {error}") from None


def _problem(path: Path, message: str, hint: str = "") -> BadInput:
    return BadInput(Problem(message, str(path), "tokenizer.file", hint))
