"""The nine tasks of GLUE (Wang et al. 2019), from its TSV files or from the Hugging Face hub.

The test sets have no labels, so `evaluation` holds the official development sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.data.hub import load_splits
from actbench.data.tasks import Example, Task, TaskData, digest
from actbench.errors import BadInput, Problem, bad_file, nearest

HUB_DATASET = "nyu-mll/glue"

_HUB_SPLIT = {
    "train": "train",
    "dev": "validation",
    "dev_matched": "validation_matched",
    "dev_mismatched": "validation_mismatched",
}
_MAY_BE_ABSENT = {"dev_mismatched"}
_KNOWN_FLAWS = 0.0025  # of QQP's rows: releases differ by a few, some broken by a tab or line end in a text


@dataclass(frozen=True)
class Layout:
    """Where a task's columns are. `values` are its label column's words in class order; empty for a score."""

    folder: str
    texts: tuple[str, ...]
    label: str
    values: tuple[str, ...]
    official: dict[str, int]  # rows by split
    hub_texts: tuple[str, ...]
    header: tuple[str, ...] | None = None  # None: the file's first line
    flawed: bool = False  # the release itself has broken rows


def _task(name: str, labels: tuple[str, ...], *metrics: str) -> Task:
    return Task(name, "classification" if labels else "regression", labels, metrics)


_ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
_PAIR = ("sentence1", "sentence2")
_BINARY = ("0", "1")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _task("cola", ("unacceptable", "acceptable"), "matthews"),
        _task("sst2", ("negative", "positive"), "accuracy"),
        _task("mrpc", ("not_equivalent", "equivalent"), "accuracy", "f1"),
        _task("stsb", (), "pearson", "spearman"),
        _task("qqp", ("not_duplicate", "duplicate"), "accuracy", "f1"),
        _task("mnli", NLI, "accuracy"),
        _task("qnli", _ENTAILMENT, "accuracy"),
        _task("rte", _ENTAILMENT, "accuracy"),
        _task("wnli", ("not_entailment", "entailment"), "accuracy"),
    )
}
"""The tasks by name. `labels` are in the hub's order, so a class index means the same from both sources."""

GROUPS = {"all": tuple(TASKS), "raft": tuple(name for name in TASKS if name != "wnli")}
"""Names for several tasks: RAFT's eight are all but WNLI."""

LAYOUTS: dict[str, Layout] = {
    "cola": Layout(
        "CoLA", ("sentence",), "label", _BINARY, {"train": 8551, "dev": 1043}, ("sentence",),
        header=("source", "label", "star", "sentence"),
    ),
    "sst2": Layout("SST-2", ("sentence",), "label", _BINARY, {"train": 67349, "dev": 872}, ("sentence",)),
    "mrpc": Layout(
        "MRPC", ("#1 String", "#2 String"), "Quality", _BINARY, {"train": 3668, "dev": 408}, _PAIR
    ),
    "stsb": Layout("STS-B", _PAIR, "score", (), {"train": 5749, "dev": 1500}, _PAIR),
    "qqp": Layout(
        "QQP", ("question1", "question2"), "is_duplicate", _BINARY, {"train": 363_846, "dev": 40_430},
        ("question1", "question2"), flawed=True,
    ),
    "mnli": Layout(
        "MNLI", _PAIR, "gold_label", NLI,
        {"train": 392_702, "dev_matched": 9815, "dev_mismatched": 9832}, ("premise", "hypothesis"),
    ),
    "qnli": Layout(
        "QNLI", ("question", "sentence"), "label", _ENTAILMENT, {"train": 104_743, "dev": 5463},
        ("question", "sentence"),
    ),
    "rte": Layout("RTE", _PAIR, "label", _ENTAILMENT, {"train": 2490, "dev": 277}, _PAIR),
    "wnli": Layout("WNLI", _PAIR, "label", _BINARY, {"train": 635, "dev": 71}, _PAIR),
}  # fmt: skip


def load_glue(name: str, data: Path | None) -> TaskData[Example]:
    """GLUE's task `name` from the folder `data` (its TSV files, one folder a task), or from the hub for None.

    Raises BadInput for an unknown task, a missing folder or file, a broken row (with its file and line) and a
    hub that cannot be reached. QQP's few malformed rows are skipped and counted in the facts.
    """
    if name not in TASKS:
        raise BadInput(Problem(f"GLUE has no task '{name}'", hint=nearest(name, list(TASKS))))
    splits, facts = _from_hub(name) if data is None else _from_folder(name, data)
    official = LAYOUTS[name].official
    tolerance = _KNOWN_FLAWS if LAYOUTS[name].flawed else 0
    for split, examples in splits.items():
        facts["splits"][split] |= {
            "rows": len(examples),
            "official_rows": official[split],
            "examples_sha256": digest(examples),
        }
    small = [split for split in splits if len(splits[split]) < (1 - tolerance) * official[split]]
    facts |= {"task": name, "subset": bool(small), "subset_splits": small}
    return TaskData(TASKS[name], splits.pop("train"), splits, facts)


def expand(names: Iterable[str]) -> list[str]:
    """Task names with each group's name replaced by its tasks, each once."""
    return list(dict.fromkeys(task for name in names for task in GROUPS.get(name, (name,))))


def _from_folder(name: str, data: Path) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    folder = task_folder(name, data)
    splits, files = {}, {}
    for split in LAYOUTS[name].official:
        file = folder / f"{split}.tsv"
        if split in _MAY_BE_ABSENT and not file.is_file():
            continue
        splits[split], files[split] = _read(name, file)
    return splits, {"source": "files", "folder": str(folder), "splits": files}


def task_folder(name: str, data: Path) -> Path:
    """The task's folder in `data`, in any usual spelling, or `data` itself."""
    if not data.is_dir():
        hint = "give the folder that holds GLUE's task folders"
        raise BadInput(Problem("no such folder", where=str(data), hint=hint))
    known = {_plain(layout.folder): layout.folder for layout in LAYOUTS.values()}
    folders = [data, *sorted(path for path in data.iterdir() if path.is_dir())]
    found = {_plain(path.name): path for path in folders}
    if name in found:
        return found[name]
    tasks = [path.name for path in folders[1:] if _plain(path.name) in known]
    others = [path.name for path in folders[1:]]
    wanted = LAYOUTS[name].folder
    raise BadInput(
        Problem(
            f"no folder {wanted} here; task folders found: {', '.join(tasks) or 'none'}",
            where=str(data),
            hint=nearest(wanted, others) or f"expected: {', '.join(known.values())}",
        )
    )


def _plain(folder: str) -> str:
    """A folder's name without case and punctuation: "SST-2", "sst_2" and "sst2" are one."""
    return "".join(letter for letter in folder.lower() if letter.isalnum())


def _read(name: str, file: Path) -> tuple[list[Example], dict[str, Any]]:
    """A TSV file's examples and what is to be known of the file."""
    if not file.is_file():
        present = sorted(path.name for path in file.parent.glob("*.tsv"))
        hint = f"found: {', '.join(present) or 'no TSV file'}"
        raise BadInput(Problem(f"no {file.name} here", where=str(file.parent), hint=hint))
    layout = LAYOUTS[name]
    examples, problems = _parse(layout, file)
    allowed = _KNOWN_FLAWS * len(examples) if layout.flawed else 0
    if len(problems) > allowed:
        raise bad_file(problems, file)
    if not examples:
        raise BadInput(Problem("the file has no rows", where=str(file)))
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return examples, {"file": file.name, "sha256": sha256, "skipped_rows": len(problems)}


def _parse(layout: Layout, file: Path) -> tuple[list[Example], list[Problem]]:
    """The rows that can be used, and a problem for each that cannot."""
    rows = tsv_rows(file)
    header = layout.header or next(rows, (1, []))[1]
    wanted = (*layout.texts, layout.label)
    missing = [column for column in wanted if column not in header]
    if missing:
        hint = f"the first line names: {', '.join(header)}"
        raise BadInput(Problem(f"no column {', '.join(missing)}", where=f"{file}:1", hint=hint))
    *texts, label = (header.index(column) for column in wanted)
    examples: list[Example] = []
    problems: list[Problem] = []
    for line, row in rows:
        try:
            if len(row) != len(header):
                raise ValueError(f"{len(row)} columns instead of {len(header)}")
            text_b = row[texts[1]] if len(texts) > 1 else None
            examples.append(Example(row[texts[0]], text_b, _label(row[label], layout.values)))
        except ValueError as error:
            problems.append(Problem(str(error), where=f"{file}:{line}"))
    return examples, problems


def tsv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of each line. Quotes are text, and only a newline ends a line: GLUE's sentences
    hold quotes, and characters that a csv reader or splitlines() would take for line ends."""
    with file.open(encoding="utf-8-sig", newline="\n") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if text := line.rstrip("\r\n"):
                    yield number, text.split("\t")
        except UnicodeDecodeError as error:
            raise BadInput(Problem(f"not UTF-8 text: {error}", where=str(file))) from error


def _label(text: str, values: tuple[str, ...]) -> float:
    """A class index, or STS-B's score of 0 to 5. Raises ValueError, saying what is accepted."""
    if values:
        if text not in values:
            raise ValueError(f"unknown label '{text}', accepted: {', '.join(values)}")
        return float(values.index(text))
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 5:
        raise ValueError(f"'{text}' is no score from 0 to 5")
    return score


def _from_hub(name: str) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    folders = ", ".join(layout.folder for layout in LAYOUTS.values())
    hint = f"give --data DIR, a folder with GLUE's TSV files in {folders}; "
    hint += "or try the built-in stand-in tasks: actbench finetune probes"
    found = load_splits(HUB_DATASET, name, hint=hint)
    columns = (*LAYOUTS[name].hub_texts, "label")
    splits = {}
    for split in LAYOUTS[name].official:
        *texts, labels = (found[_HUB_SPLIT[split]][column] for column in columns)
        seconds = texts[1] if len(texts) > 1 else [None] * len(labels)
        rows = zip(texts[0], seconds, labels, strict=True)
        splits[split] = [Example(a, b, float(label)) for a, b, label in rows]
    files = sorted(found["train"].info.download_checksums or {})  # their addresses name the exact revision
    return splits, {"source": HUB_DATASET, "files": files, "splits": {split: {} for split in splits}}
