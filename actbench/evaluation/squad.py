"""Answers to SQuAD's questions from start and end logits, and their scores as the official scripts define them.

The scripts, evaluate-v1.1.py and evaluate-v2.0.py of SQuAD's page, give percent; scores here are in [0, 1]. They differ
in what is empty once it is normalised: two empty texts agree in 2.0, and have an F1 of 0 in 1.1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actbench.data.tasks import Question
from actbench.data.windows import Windows
from actbench.errors import RunFailed

Scores = dict[str, float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Found:
    """The best part of a question's text, "" where there is none, and the score of no answer less that part's."""

    text: str
    null_margin: float


def answers(windows: Windows, logits: Sequence[np.ndarray], n_best_size: int, max_answer_length: int) -> list[Found]:
    """What a model finds in the texts of the Q questions.

    `logits` has for each of the W windows (T, 2), start and end. A part of the text scores the sum of its two; it is of
    at most `max_answer_length` tokens, its ends among the `n_best_size` best of the window's text. No answer scores the
    least sum at any window's [CLS] (Devlin et al. 2019). Raises RunFailed for logits that are not finite.
    """
    if not all(np.isfinite(each).all() for each in logits):
        raise RunFailed("a logit is not a number, so the model cannot be scored")
    Q = len(windows.questions)
    best, null = np.full(Q, -np.inf), np.full(Q, np.inf)
    texts = [""] * Q
    for owner, text, begin, each in zip(windows.owners, windows.texts, windows.begins, logits, strict=True):
        start, end = each.astype(np.float64).T
        null[owner] = min(null[owner], start[0] + end[0])
        score, first, last = _best_span(start[text:-1], end[text:-1], n_best_size, max_answer_length)
        if score > best[owner]:
            characters = windows.characters[owner]
            best[owner] = score
            texts[owner] = windows.questions[owner].context[characters[begin + first, 0] : characters[begin + last, 1]]
    return [Found(text, float(margin)) for text, margin in zip(texts, null - best, strict=True)]


def choose_threshold(questions: Sequence[Question], found: Sequence[Found]) -> float:
    """The null margin above which to give no answer, so that F1 on these questions is highest.

    It lies halfway between two questions' margins, or 1 beyond the outermost. Of several the lowest is taken.
    """
    margins = np.array([each.null_margin for each in found])
    order = np.argsort(margins, kind="stable")
    gains = [
        _f1_v2(each.text, question) - _f1_v2("", question) for question, each in zip(questions, found, strict=True)
    ]
    total = np.concatenate([[0.0], np.cumsum(np.array(gains)[order])])  # of answering the first k
    finite = margins[order][np.isfinite(margins[order])]
    if not len(finite):
        return 0.0
    inner = (finite[:-1] + finite[1:]) / 2
    places = np.concatenate([[finite[0] - 1], inner, [finite[-1] + 1]])
    answered = np.searchsorted(finite, places, side="right")
    return float(places[np.argmax(total[answered])])


def predictions(questions: Sequence[Question], found: Sequence[Found], threshold: float | None) -> dict[str, str]:
    """The official prediction file's content: a text for each question's id, "" where the null margin is above."""
    return {
        question.id: "" if threshold is not None and each.null_margin > threshold else each.text
        for question, each in zip(questions, found, strict=True)
    }


def score_v1(questions: Sequence[Question], predicted: Mapping[str, str]) -> Scores:
    """EM and F1 of SQuAD 1.1: the best over a question's answers; 0 for a question without a prediction or answer."""
    exact, f1 = [], []
    for question in questions:
        given = predicted.get(question.id, "")
        golds = [answer.text for answer in question.answers if question.id in predicted]
        exact.append(max((normalize(given) == normalize(gold) for gold in golds), default=False))
        f1.append(max((_overlap(_words(given), _words(gold)) for gold in golds), default=0.0))
    return {"exact_match": float(np.mean(exact)), "f1": float(np.mean(f1))}


def score_v2(questions: Sequence[Question], predicted: Mapping[str, str]) -> Scores:
    """EM and F1 of SQuAD 2.0, over all questions, over those that have an answer, and over those that have none.

    Where there is no answer "" is right, and both scores are 0 or 1. A question without a prediction counts 0, where
    the official script fails.
    """
    answerable = np.array([bool(question.answers) for question in questions])
    given = [predicted.get(question.id) for question in questions]
    pairs = list(zip(questions, given, strict=True))
    exact = np.array([text is not None and normalize(text) in map(normalize, _golds(q)) for q, text in pairs])
    f1 = np.array([0.0 if text is None else _f1_v2(text, question) for question, text in pairs])
    scores = {"exact_match": float(exact.mean()), "f1": float(f1.mean())}
    if answerable.any():
        scores |= {"has_answer_exact_match": float(exact[answerable].mean())}
        scores |= {"has_answer_f1": float(f1[answerable].mean())}
    if not answerable.all():
        scores |= {"no_answer_f1": float(f1[~answerable].mean())}
    return scores


def normalize(text: str) -> str:
    """In lower case, without punctuation, articles and needless spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def _best_span(start: np.ndarray, end: np.ndarray, n_best: int, longest: int) -> tuple[float, int, int]:
    """Score, first and last token of the best span by logits (n,); -inf where none is allowed."""
    if not len(start):
        return -np.inf, 0, 0
    firsts, lasts = (np.argsort(-each, kind="stable")[:n_best] for each in (start, end))
    length = lasts - firsts[:, None] + 1
    allowed = (length >= 1) & (length <= longest)
    scores = np.where(allowed, start[firsts][:, None] + end[lasts], -np.inf)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[row, column]), int(firsts[row]), int(lasts[column])


def _golds(question: Question) -> list[str]:
    """2.0's right answers: those with a word in them, or "" where there is none."""
    return [answer.text for answer in question.answers if normalize(answer.text)] or [""]


def _f1_v2(text: str, question: Question) -> float:
    words = _words(text)
    golds = (_words(gold) for gold in _golds(question))
    return max(_overlap(words, gold) if words and gold else float(words == gold) for gold in golds)


def _words(text: str) -> list[str]:
    return normalize(text).split()


def _overlap(words: Sequence[str], gold: Sequence[str]) -> float:
    """The harmonic mean of precision and recall; words count as often as they come."""
    same = (Counter(words) & Counter(gold)).total()
    return 2 * same / (len(words) + len(gold)) if same else 0.0
