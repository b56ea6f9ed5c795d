"""Text of any size to be packed: the corpus' documents over and over, with new words as real text keeps having them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from string import ascii_lowercase

NEW_EVERY = 100  # words; without new ones, a repeated text would be packed from what is known already
_LETTERS = 9


def write(documents: Callable[[], Iterable[str]], size: int, path: Path) -> int:
    """Fills a .jsonl file with about `size` bytes of text in UTF-8, always the same; returns how many it is."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for document in _endless(documents):
            file.write(json.dumps({"text": document}) + "\n")
            written += len(document.encode())
            if written >= size:
                return written
    return written


def _endless(documents: Callable[[], Iterable[str]]) -> Iterator[str]:
    """The documents time after time, every hundredth word a made-up one."""
    letters = random.Random(0)
    place = 0  # of the next made-up word, from the document's beginning
    while True:
        for document in documents():
            words = document.split(" ")
            while place < len(words):
                words[place] = "".join(letters.choices(ascii_lowercase, k=_LETTERS))
                place += NEW_EVERY
            place -= len(words)
            yield " ".join(words)
