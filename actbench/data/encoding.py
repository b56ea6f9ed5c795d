"""From a task's examples to batches of a BERT's inputs: [CLS] a [SEP], or [CLS] a [SEP] b [SEP].

RoBERTa's are <s> a </s>, or <s> a </s></s> b </s>, and all of one type: the tokenizer decides (see Layout).

Shapes: N examples, B batch, T time (the longest of a batch, rounded up to a multiple of 8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, processors

from actbench.data.keys import keyed_generator
from actbench.data.tasks import Example, T
from actbench.data.tokenizer import ROBERTA_SPECIALS, encoder_specials
from actbench.errors import BadInput, Problem

CHUNK = 4096  # examples tokenized at a time: the tokenizer's own objects are large

_MULTIPLE = 8  # widths that suit a GPU's matrix units, and few different shapes to compile for


@dataclass(frozen=True)
class Layout:
    """What stands around texts: `cls` a `sep`, or `cls` a `between` b `sep`. Tokens from b on are of type `second`."""

    cls: int
    sep: int
    pad: int
    between: tuple[int, ...]
    second: int


@dataclass(frozen=True)
class EncodedExamples:
    """N tokenized examples, one after the other without padding: example i is at offsets[i]:offsets[i + 1].

    `tokens` (int32) and `segments` (uint8, their types: 1 for a BERT's second text) are flat; `offsets` is (N + 1,)
    int64 and `labels` (N,) float32, or (N, 2) where a label is a span. No example is longer than `length`; `pad` is the
    id of [PAD].
    """

    tokens: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    length: int
    pad: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example (N,), special ones included."""
        return np.diff(self.offsets)


def encode(tokenizer_file: Path, examples: Sequence[Example], length: int) -> EncodedExamples:
    """Tokenizes `examples` with BERT's or RoBERTa's tokenizer (a tokenizer.json), each to at most `length` tokens.

    A pair that is too long loses tokens from the end of its longer text first (Devlin et al. 2019).
    Raises BadInput as `encoder_tokenizer` does.
    """
    tokenizer, layout = encoder_tokenizer(tokenizer_file)
    tokenizer.enable_truncation(length, strategy="longest_first")
    tokens: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    for start in range(0, len(examples), CHUNK):
        texts = [e.text_a if e.text_b is None else (e.text_a, e.text_b) for e in examples[start : start + CHUNK]]
        for encoding in tokenizer.encode_batch_fast(texts):
            tokens.append(np.array(encoding.ids, dtype=np.int32))
            segments.append(np.array(encoding.type_ids, dtype=np.uint8))
    return EncodedExamples(
        tokens=np.concatenate([np.empty(0, np.int32), *tokens]),
        segments=np.concatenate([np.empty(0, np.uint8), *segments]),
        offsets=np.cumsum([0, *map(len, tokens)], dtype=np.int64),
        labels=np.array([e.label for e in examples], dtype=np.float32),
        length=length,
        pad=layout.pad,
    )


def batches(
    encoded: EncodedExamples, batch_size: int, order: Sequence[int] | np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """The examples in `order`, `batch_size` at a time; the last batch may be smaller.

    Yields `tokens` and `segments` (B, T) int64, `attention` (B, T) bool (False on padding) and `labels` (B,)
    or (B, 2) float32 (a class index and a position are exact in it). T never exceeds `encoded.length`.
    """
    for start in range(0, len(order), batch_size):
        yield _padded(encoded, np.asarray(order[start : start + batch_size], dtype=np.int64))


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order (n,) in which `epoch` sees its `n` training examples: a function of the arguments alone."""
    return keyed_generator("finetune order", seed, epoch).permutation(n)


def longest_first(encoded: EncodedExamples, batch_size: int, order: np.ndarray) -> np.ndarray:
    """The batches of `order` (n,), in each the longest examples first: neighbours are then of similar length."""
    return order[np.lexsort((-encoded.lengths[order], np.arange(len(order)) // batch_size))]


def evaluation_order(encoded: EncodedExamples) -> np.ndarray:
    """The order (N,) from the longest example to the shortest: next to no padding, and a batch too large for
    the memory fails at once instead of at the end."""
    return np.argsort(-encoded.lengths, kind="stable")


def in_original_order(outputs: Sequence[T], order: np.ndarray) -> list[T]:
    """Undoes `order`: number k of the N outputs belongs to example order[k] and goes back to its place."""
    return [outputs[k] for k in np.argsort(order)]


def encoder_tokenizer(file: Path) -> tuple[Tokenizer, Layout]:
    """The tokenizer of a tokenizer.json, BERT's or RoBERTa's by its special tokens, and what it puts around texts.

    It neither pads nor truncates. Raises BadInput when the file cannot be read or has no [CLS], [SEP] and [PAD].
    """
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception, for a missing file and for a broken one
        raise BadInput(Problem(f"not a tokenizer: {error}", where=str(file))) from error
    tokenizer.no_truncation()  # a saved tokenizer may pad or truncate on its own
    tokenizer.no_padding()
    names = encoder_specials(tokenizer)
    pad, _, cls, sep, _ = names
    ids = tokenizer.get_vocab()
    missing = [token for token in (cls, sep, pad) if token not in ids]
    if missing:
        hint = "fine-tuning needs the tokenizer of a BERT or RoBERTa"
        raise BadInput(Problem(f"the tokenizer has no {', '.join(missing)}", where=str(file), hint=hint))
    ends = ((sep, ids[sep]), (cls, ids[cls]))
    if names != ROBERTA_SPECIALS:
        tokenizer.post_processor = processors.BertProcessing(*ends)
        return tokenizer, Layout(ids[cls], ids[sep], ids[pad], between=(ids[sep],), second=1)
    # To the library a word begins with the space before it; trimmed, it begins where an answer does.
    prefix_space = getattr(tokenizer.pre_tokenizer, "add_prefix_space", False)
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=prefix_space)
    return tokenizer, Layout(ids[cls], ids[sep], ids[pad], between=(ids[sep], ids[sep]), second=0)


def _padded(encoded: EncodedExamples, rows: np.ndarray) -> dict[str, np.ndarray]:
    """One batch: the examples `rows` (B,) side by side."""
    starts = encoded.offsets[rows]
    lengths = encoded.offsets[rows + 1] - starts
    width = min(-(-int(lengths.max()) // _MULTIPLE) * _MULTIPLE, encoded.length)
    column = np.arange(width)
    attention = column < lengths[:, None]  # (B, T)
    source = np.where(attention, starts[:, None] + column, 0)
    return {
        "tokens": np.where(attention, encoded.tokens[source], encoded.pad).astype(np.int64),
        "segments": np.where(attention, encoded.segments[source], 0).astype(np.int64),
        "attention": attention,
        "labels": encoded.labels[rows],
    }
