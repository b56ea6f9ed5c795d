"""Made-up files for natural language inference, in the layouts of GLUE's MNLI, of its test sets, and of SNLI."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LABELS = ("contradiction", "entailment", "neutral")  # in an order of their own
THINGS = ("river", "stone", "house", "wind")
MNLI = "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label"
SNLI = "gold_label\tsentence1_binary_parse\tsentence1\tsentence2\tcaptionID\tpairID\tlabel1\tlabel2"


def pairs(rows: int, seed: int) -> list[tuple[str, str, str]]:
    """Sentences and their label, which the second sentence's first word tells."""
    random = np.random.default_rng(seed)
    words = ("the", "small", "old", "child", "sees", "holds", "finds", "under", "near", "with")
    first = {"contradiction": "no", "entailment": "a", "neutral": "one"}
    made = []
    for row in range(rows):
        label = LABELS[row % 3]
        texts = (" ".join([*random.choice(words, 4), str(random.choice(THINGS))]) for _ in range(2))
        premise, hypothesis = texts
        made.append((premise, f"{first[label]} {hypothesis}", label))
    return made


def mnli(folder: Path, rows: int = 60, mismatched: bool = True) -> Path:
    """GLUE's folder for MNLI with training, development and test files; returns the folder above it."""
    task = folder / "MNLI"
    task.mkdir(parents=True)
    sizes = {"train": rows, "dev_matched": 18, "test_matched": 7, "test_mismatched": 5}
    for seed, (split, n) in enumerate([*sizes.items(), *([("dev_mismatched", 21)] if mismatched else [])]):
        end = -2 if split.startswith("test") else None  # tests have no labels
        lines = [
            "\t".join([str(i), "p", "q", "fiction", a, b, label, label][:end])
            for i, (a, b, label) in enumerate(pairs(n, seed))
        ]
        text = "\n".join(["\t".join(MNLI.split("\t")[:end]), *lines]) + "\n"
        (task / f"{split}.tsv").write_text(text)
    return folder


def labelled(folder: Path, name: str, examples: list[tuple[str, str, str]]) -> Path:
    """A file in SNLI's layout: JSON lines where the name ends so, else columns."""
    file = folder / name
    if name.endswith(".jsonl"):
        rows = [{"gold_label": label, "sentence1": a, "sentence2": b, "pairID": "x"} for a, b, label in examples]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:  # the last label of a row that has but one is left away, as SNLI's own rows end
        lines = [f"{label}\t( {a} )\t{a}\t{b}\tc#1\tc#1x\t{label}" for a, b, label in examples]
        file.write_text("\n".join([SNLI, *lines]) + "\n")
    return file
