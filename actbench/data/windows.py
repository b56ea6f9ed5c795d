"""From questions about texts to a BERT's inputs: [CLS] question [SEP] part of the text [SEP], in sliding windows.

RoBERTa's stand between <s>, </s></s> and </s> (see encoding.Layout).

Shapes: Q questions, W windows, C tokens of a question's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from actbench.data.encoding import CHUNK, EncodedExamples, encoder_tokenizer
from actbench.data.tasks import Answer, Question


@dataclass(frozen=True)
class Windows(EncodedExamples):
    """Windows of Q questions as W examples. Those of one question follow one another.

    `labels` (W, 2) are the first and the last token of the question's first answer; both 0, [CLS], where the window
    does not hold all of it. `owners` (W,) are the windows' questions. The text's tokens begin at the position `texts`
    (W,) of a window, with token number `begins` (W,) of the text; the window's last token is [SEP]. `characters` has
    for each question (C, 2): where in its text each token begins and ends.
    """

    questions: tuple[Question, ...]
    owners: np.ndarray
    texts: np.ndarray
    begins: np.ndarray
    characters: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _Text:
    """A text's token ids (C,), and the characters (C, 2) that each stands for."""

    tokens: np.ndarray
    characters: np.ndarray


def windows_of(
    tokenizer_file: Path, questions: Sequence[Question], length: int, max_query_length: int, doc_stride: int
) -> Windows:
    """Cuts the questions' texts into windows of at most `length` tokens. Raises BadInput as `encoder_tokenizer` does.

    Each window begins `doc_stride` tokens after the one before, as BERT's (Devlin et al. 2019), but never more than
    half of what it holds of the text: an answer at one's end then stands whole in the next. Of a question no more than
    `max_query_length` tokens are kept, and than half of the window.
    """
    tokenizer, layout = encoder_tokenizer(tokenizer_file)
    asked = _tokenized(tokenizer, [question.text for question in questions])
    texts = _tokenized(tokenizer, [question.context for question in questions])
    most = min(max_query_length, (length - 2 - len(layout.between)) // 2)
    tokens, segments, labels, where = [], [], [], []
    for owner, question in enumerate(questions):
        head = np.concatenate([[layout.cls], asked[question.text].tokens[:most], layout.between])
        text = texts[question.context]
        answer = _span(question.answers[0], text) if question.answers else None
        for begin, end in _cuts(len(text.tokens), length - len(head) - 1, doc_stride):
            tokens.append(np.concatenate([head, text.tokens[begin:end], [layout.sep]]))
            segments.append(layout.second * (np.arange(len(tokens[-1])) >= len(head)))
            labels.append(_label(answer, begin, end, len(head)))
            where.append((owner, len(head), begin))
    owners, starts, begins = np.array(where, dtype=np.int64).T
    return Windows(
        tokens=np.concatenate(tokens).astype(np.int32),
        segments=np.concatenate(segments).astype(np.uint8),
        offsets=np.cumsum([0, *map(len, tokens)], dtype=np.int64),
        labels=np.array(labels, dtype=np.float32),
        length=length,
        pad=layout.pad,
        questions=tuple(questions),
        owners=owners,
        texts=starts,
        begins=begins,
        characters=tuple(texts[question.context].characters for question in questions),
    )


def _tokenized(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, _Text]:
    """Every text's tokens, each text worked on once."""
    unique, found = list(dict.fromkeys(texts)), {}
    for start in range(0, len(unique), CHUNK):
        part = unique[start : start + CHUNK]
        for text, encoding in zip(part, tokenizer.encode_batch(part, add_special_tokens=False), strict=True):
            characters = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
            found[text] = _Text(np.array(encoding.ids, dtype=np.int32), characters)
    return found


def _cuts(n: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Where each window's part of a text of n tokens begins and ends; an empty text has one window."""
    step, begin = min(stride, max(1, room // 2)), 0
    while True:
        yield begin, min(n, begin + room)
        if begin + room >= n:
            return
        begin += step


def _span(answer: Answer, text: _Text) -> tuple[int, int] | None:
    """The first and the last token that have a part of the answer; None where no token has."""
    begins, ends = text.characters.T
    first = int(np.searchsorted(ends, answer.start, side="right"))
    last = int(np.searchsorted(begins, answer.start + len(answer.text), side="left")) - 1
    return (first, last) if first <= last else None


def _label(answer: tuple[int, int] | None, begin: int, end: int, offset: int) -> tuple[int, int]:
    """The answer's positions in a window whose part of the text stands at `offset`."""
    if answer is None or answer[0] < begin or answer[1] >= end:
        return 0, 0
    return answer[0] - begin + offset, answer[1] - begin + offset
