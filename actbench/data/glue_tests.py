"""GLUE's test sets, which have no labels, and the files in which its leaderboard wants them answered.

A file is a TSV with the columns `index` and `prediction`. A class is written as the training files write it, 0 and 1 or
words, a score as a number from 0 to 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.data.glue import LAYOUTS, task_folder, tsv_rows
from actbench.data.tasks import Example
from actbench.errors import BadInput, Problem, bad_file

SUBMITTED: dict[str, dict[str, int]] = {
    "cola": {"CoLA": 1063},
    "sst2": {"SST-2": 1821},
    "mrpc": {"MRPC": 1725},
    "stsb": {"STS-B": 1379},
    "qqp": {"QQP": 390_965},
    "mnli": {"MNLI-m": 9796, "MNLI-mm": 9847, "AX": 1104},
    "qnli": {"QNLI": 5463},
    "rte": {"RTE": 3000},
    "wnli": {"WNLI": 146},
}
"""By task, the names of the files handed in and how many rows each must have. AX, the diagnostics, is MNLI's too."""

_FILES = {"MNLI-m": "test_matched.tsv", "MNLI-mm": "test_mismatched.tsv"}
_AX_FILES = ("diagnostic/diagnostic.tsv", "AX/AX.tsv", "AX/test.tsv", "AX.tsv")  # as the usual downloads place it
_INDEX = ("index", "id")  # QQP calls it id


@dataclass(frozen=True)
class TestSet:
    """The rows of one test file. `name` is that of the file handed in; `words` write its classes, none for a score."""

    __test__ = False  # pytest: no test

    name: str
    examples: tuple[Example, ...]
    indices: tuple[str, ...]
    words: tuple[str, ...]
    facts: dict[str, Any]

    def written(self, found: Sequence[float]) -> str:
        """The file handed in, for a class index or a score of each example."""
        rows = (f"{index}\t{self._word(value)}\n" for index, value in zip(self.indices, found, strict=True))
        return "".join(["index\tprediction\n", *rows])

    def _word(self, value: float) -> str:
        return self.words[int(value)] if self.words else f"{min(5.0, max(0.0, value)):.3f}"


def load_tests(task: str, data: Path) -> list[TestSet]:
    """The test sets that a model of GLUE's `task` answers, from its TSV files in the folder `data`.

    Raises BadInput for a missing folder or file and, since every row must be answered, for any broken row. AX may be
    absent.
    """
    folder, found = task_folder(task, data), []
    for name, official in SUBMITTED[task].items():
        file = _ax_file(data) if name == "AX" else folder / _FILES.get(name, "test.tsv")
        if file is None:
            continue
        if not file.is_file():
            present = ", ".join(sorted(path.name for path in folder.glob("*.tsv"))) or "no TSV file"
            raise BadInput(Problem(f"no {file.name} here", where=str(folder), hint=f"found: {present}"))
        found.append(_read(task, name, file, official))
    return found


def _ax_file(data: Path) -> Path | None:
    return next((file for path in _AX_FILES if (file := data / path).is_file()), None)


def _read(task: str, name: str, file: Path, official: int) -> TestSet:
    layout, rows = LAYOUTS[task], tsv_rows(file)
    header = next(rows, (1, []))[1]
    index = next((column for column in _INDEX if column in header), "index")
    wanted = (index, *layout.texts)
    missing = [column for column in wanted if column not in header]
    if missing:
        hint = f"the first line names: {', '.join(header)}"
        raise BadInput(Problem(f"no column {', '.join(missing)}", where=f"{file}:1", hint=hint))
    places = [header.index(column) for column in wanted]
    indices, examples, problems = [], [], []
    for line, row in rows:
        if len(row) != len(header):
            problems.append(Problem(f"{len(row)} columns instead of {len(header)}", where=f"{file}:{line}"))
            continue
        own, *texts = (row[place] for place in places)
        indices.append(own)
        examples.append(Example(texts[0], texts[1] if len(texts) > 1 else None, 0.0))
    if problems:
        raise bad_file(problems, file)
    if not examples:
        raise BadInput(Problem("the file has no rows", where=str(file)))
    facts = {
        "file": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "rows": len(examples),
        "official_rows": official,
    }
    return TestSet(name, tuple(examples), tuple(indices), layout.values, facts)
