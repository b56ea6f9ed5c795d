"""Metrics of zero-shot tasks, as lm-evaluation-harness 0.4 computes them, with the standard error over items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from actbench.data.requests import Item, RequestTask
from actbench.evaluation.scoring import Score

SPACE = " "  # between a context and its continuation: not counted in a continuation's length


def results(task: RequestTask, scores: Sequence[Sequence[Score]]) -> dict[str, Any]:
    """`scores` by metric as fractions, and their `standard_errors` (None of a single item), as JSON data.

    acc: the likeliest continuation is the right one, of a last word: greedy decoding gives it. acc_norm: likelihoods
    are divided by the continuations' characters first, acc_bytes: by their UTF-8 bytes. Of pairs, the mean over
    paradigms, and `paradigms`. Of last words, also the `perplexity` of the word as a whole; None beyond all floats.
    """
    if task.kind == "pairs":
        return _over_paradigms(task.items, scores)
    if task.kind == "last word":
        right = {"acc": [float(own[0].greedy) for own in scores]}
        loss = -fmean(own[0].log_likelihood for own in scores)
        return {**_summed_up(right), "perplexity": math.exp(loss) if loss < 700 else None}
    return _summed_up(
        {
            metric: [_is_right(item, own, lengths(item)) for item, own in zip(task.items, scores, strict=True)]
            for metric, lengths in (("acc", _ones), ("acc_norm", _characters), ("acc_bytes", _bytes))
        }
    )


def standard_error(values: Sequence[float]) -> float | None:
    """The sample standard deviation over the square root of n."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _summed_up(right: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "scores": {metric: fmean(values) for metric, values in right.items()},
        "standard_errors": {metric: standard_error(values) for metric, values in right.items()},
    }


def _over_paradigms(items: Sequence[Item], scores: Sequence[Sequence[Score]]) -> dict[str, Any]:
    right: dict[str, list[float]] = {}
    for item, own in zip(items, scores, strict=True):
        right.setdefault(item.group, []).append(_is_right(item, own, _ones(item)))
    errors = [standard_error(values) for values in right.values()]
    known = [error for error in errors if error is not None]
    whole = math.sqrt(sum(error**2 for error in known)) / len(right) if len(known) == len(errors) else None
    return {
        "scores": {"acc": fmean(fmean(values) for values in right.values())},
        "standard_errors": {"acc": whole},
        "paradigms": {
            name: {"acc": fmean(values), "standard_error": error, "items": len(values)}
            for (name, values), error in zip(right.items(), errors, strict=True)
        },
    }


def _is_right(item: Item, scores: Sequence[Score], lengths: Sequence[int]) -> float:
    """1 where the first of the likeliest continuations is the right one, else 0."""
    values = [score.log_likelihood / length for score, length in zip(scores, lengths, strict=True)]
    return float(values.index(max(values)) == item.gold)


def _ones(item: Item) -> list[int]:
    return [1] * len(item.requests)


def _characters(item: Item) -> list[int]:
    return [len(text) for text in _answers(item)]


def _bytes(item: Item) -> list[int]:
    return [len(text.encode()) for text in _answers(item)]


def _answers(item: Item) -> list[str]:
    return [request.continuation.removeprefix(SPACE) for request in item.requests]
