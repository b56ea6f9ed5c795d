"""Labelled pairs for natural language inference: SNLI's files (Bowman et al. 2015), and GLUE's for MNLI.

Both name their columns, or the keys of their JSON lines, `gold_label`, `sentence1` and `sentence2`. A label of "-"
means that those who labelled the pair did not agree: such rows are left out, as SNLI's authors do, and counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actbench.data.glue import NLI, tsv_rows
from actbench.data.tasks import Example, digest
from actbench.errors import BadInput, Problem, bad_file

NO_GOLD = "-"

_NEEDED = ("sentence1", "sentence2", "gold_label")


def read_nli(file: Path) -> tuple[list[Example], dict[str, Any]]:
    """The file's pairs, their labels as indices into NLI, and its facts; a name that ends in .jsonl is JSON lines.

    Raises BadInput, naming file and line, for a missing file, column or key and for a label that is none of the three.
    """
    if not file.is_file():
        raise BadInput(Problem("no such file", where=str(file), hint="a file, as in snli_1.0_test.txt"))
    rows = _json_rows(file) if file.suffix == ".jsonl" else _tsv_rows(file)
    examples: list[Example] = []
    problems: list[Problem] = []
    left_out = 0
    for line, row in rows:
        if isinstance(row, str):
            problems.append(Problem(row, where=f"{file}:{line}"))
        elif (label := row["gold_label"]) == NO_GOLD:
            left_out += 1
        elif label in NLI:
            examples.append(Example(row["sentence1"], row["sentence2"], float(NLI.index(label))))
        else:
            known = ", ".join(NLI)
            problems.append(Problem(f"unknown label '{label}', accepted: {known}", where=f"{file}:{line}"))
    if problems:
        raise bad_file(problems, file)
    if not examples:
        raise BadInput(Problem("the file has no labelled rows", where=str(file)))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    facts = {"file": file.name, "sha256": sha256, "rows": len(examples), "without_label": left_out}
    return examples, {**facts, "examples_sha256": digest(examples)}


Row = dict[str, str] | str  # what it says, or what is wrong with it


def _tsv_rows(file: Path) -> Iterator[tuple[int, Row]]:
    lines = tsv_rows(file)
    header = next(lines, (1, []))[1]
    missing = [column for column in _NEEDED if column not in header]
    if missing:
        hint = f"the first line names: {', '.join(header)}"
        raise BadInput(Problem(f"no column {', '.join(missing)}", where=f"{file}:1", hint=hint))
    places = {column: header.index(column) for column in _NEEDED}
    for line, row in lines:
        # Columns after those needed may be absent: SNLI's rows end before the labels that nobody gave.
        if len(row) <= max(places.values()) or len(row) > len(header):
            yield line, f"{len(row)} columns instead of {len(header)}"
        else:
            yield line, {column: row[place] for column, place in places.items()}


def _json_rows(file: Path) -> Iterator[tuple[int, Row]]:
    with file.open(encoding="utf-8", newline="\n") as lines:
        for number, text in enumerate(lines, start=1):
            if text.strip():
                yield number, _json_row(text)


def _json_row(text: str) -> Row:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON: {error}"
    if not isinstance(row, dict):
        return "not a JSON object"
    missing = [key for key in _NEEDED if not isinstance(row.get(key), str)]
    return f"no text under {', '.join(missing)}" if missing else {key: row[key] for key in _NEEDED}
