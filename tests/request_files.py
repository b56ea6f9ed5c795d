"""Zero-shot tasks of the tests' own words, in the layouts of OLMES' requests and of BLiMP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROSE = "the a one small old river stone house wind child sees holds finds carries under over near with and"
WORDS = PROSE.split()
PARADIGMS = ("wind_first", "stone_last")
LONG = " ".join(WORDS * 8)  # more tokens than the tests' models look back at


def phrase(random: np.random.Generator, least: int, most: int) -> str:
    return " ".join(random.choice(WORDS, random.integers(least, most)))


def lines(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def row(doc: int, idx: int, context: str, continuation: str, **doc_keys: Any) -> dict[str, Any]:
    request = {"context": context, "continuation": continuation}
    return {"request_type": "loglikelihood", "doc": doc_keys, "request": request, "idx": idx, "doc_id": doc}


def choices(folder: Path, name: str = "pick", n: int = 12, *, too_long: bool = True) -> Path:
    """Items with two to four answers of several lengths, one with more bytes than characters, one with a context longer
    than the tests' models look back at and, unless told otherwise, one with such an answer.
    """
    random = np.random.default_rng(1)
    rows = []
    for doc in range(n):
        context = f"Which? {LONG if doc == 3 else phrase(random, 3, 12)}\nAnswer:"
        answers = [phrase(random, 1, 9) for _ in range(2 + doc % 3)]
        if doc == 1:
            answers[0] = "ééé " + answers[0]
        if doc == 5 and too_long:
            answers[1] = LONG
        gold = int(random.integers(len(answers)))
        rows += [row(doc, i, context, f" {text}", gold=gold, choices=answers) for i, text in enumerate(answers)]
        rows += [row(1_000_000 + doc, i, "Answer:", f" {text}", gold=gold) for i, text in enumerate(answers)]
    config = {"task_config": {"num_shots": 0, "split": "validation", "primary_metric": "acc_per_char"}}
    lines(folder / name / "rc_0shot" / "requests.jsonl.gz", rows)
    lines(folder / name / "rc_5shot" / "requests.jsonl.gz", rows[:2])
    (folder / name / "rc_0shot" / "config.json").write_text(json.dumps({**config, "num_instances": n}))
    return folder


def last_words(folder: Path, n: int = 8) -> Path:
    """LAMBADA's shape: one continuation, and no gold."""
    random = np.random.default_rng(2)
    rows = [row(doc, 0, phrase(random, 5, 40), f" {random.choice(WORDS)}", choices=[]) for doc in range(n)]
    lines(folder / "requests" / "lambada" / "requests.jsonl", rows)
    return folder


def pairs(folder: Path, n: int = 6) -> Path:
    """BLiMP's shape: two paradigms."""
    random = np.random.default_rng(3)
    for name in PARADIGMS:
        rows = [
            {
                "sentence_good": f"{phrase(random, 4, 8)}.".capitalize(),
                "sentence_bad": f"{phrase(random, 4, 8)}.".capitalize(),
                "UID": name,
                "pairID": str(number),
            }
            for number in range(n)
        ]
        lines(folder / "blimp" / f"{name}.jsonl.gz", rows)
    return folder
