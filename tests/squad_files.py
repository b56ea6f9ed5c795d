"""Made-up SQuAD files: short texts with questions about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("the", "a", "one", "small", "old", "sees", "holds", "finds", "under", "near", "with", "and")
THINGS = ("river", "stone", "house", "wind")


def file_of(qas: list[dict[str, Any]], context: str, **more: Any) -> dict[str, Any]:
    """A file's content: one text and its questions."""
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas, **more}]}]}


def asked(id: str, question: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    """A question as SQuAD's files have it."""
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": question, "answers": found, **more}


def write(folder: Path, version: str = "1.1", **splits: Any) -> Path:
    """The folder with these splits' files, each JSON data or text; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in splits.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{split}-v{version}.json").write_text(text, encoding="utf-8")
    return folder


def made_up(folder: Path, version: str = "1.1", train: int = 60, dev: int = 20) -> Path:
    """Texts of 8 to 30 words; the thing that is in a text answers its question, and is one of four.

    In version 2.0 every fourth text has none.
    """
    random = np.random.default_rng(0)

    def content(split: str, n: int) -> dict[str, Any]:
        paragraphs = []
        for i in range(n):
            words = random.choice(WORDS, random.integers(8, 30)).tolist()
            there = version == "1.1" or i % 4 != 3
            thing, place = THINGS[i % 4 if version == "1.1" else i % 3], int(random.integers(0, len(words)))
            if there:
                words.insert(place, thing)
            answers = [(thing, len(" ".join([*words[:place], ""])))] if there else []
            more = {} if version == "1.1" else {"is_impossible": not there}
            qas = [asked(f"{split}{i}", "Which?", *answers, **more)]
            paragraphs.append({"context": " ".join(words), "qas": qas})
        return {"version": version, "data": [{"title": "made up", "paragraphs": paragraphs}]}

    return write(folder, version, train=content("train", train), dev=content("dev", dev))
