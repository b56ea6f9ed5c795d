"""Short words for what differs between things that would else be called alike."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

MOST_WORDS = 3
LONGEST = 24  # characters of a value


def told_apart(facts: Sequence[Mapping[str, str]]) -> list[str]:
    """For each of several things the fewest of its words that tell it from the others, or else from the most of them.

    `facts` are their words by key, the keys to be preferred first. A thing that lacks a key has no word for it.
    """
    keys = dict.fromkeys(key for one in facts for key in one)
    differing = [key for key in keys if len({one.get(key) for one in facts}) > 1]
    sizes = range(min(MOST_WORDS, len(differing)) + 1)
    choices = (some for size in sizes for some in itertools.combinations(differing, size))
    said = ([" ".join(one[key] for key in some if key in one) for one in facts] for some in choices)
    return max(said, key=lambda words: len(set(words)))  # of equals the first, which is the shortest


def spelled(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """ "key=value" by dotted key, of all values that are short enough to be read and are no None."""
    words: dict[str, str] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            words |= spelled(value, f"{name}.")
        elif value is not None and len(text := _text(value)) <= LONGEST:
            words[name] = f"{name}={text}"
    return words


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)
