"""A fine-tuned run's answers to GLUE's unlabelled test sets, as its leaderboard wants them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actbench.data.glue_tests import SUBMITTED, TestSet, load_tests
from actbench.data.tasks import Task
from actbench.errors import BadInput, Problem, RunFailed
from actbench.evaluation.load import check_keeps_weights, check_weights_are_here, device_of, recipe_of, task_of
from actbench.evaluation.transfer import answer
from actbench.store import Run
from actbench.store.atomic import write_json, write_text

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Submission:
    """The files written, with where each comes from, and the names of those a whole submission has besides."""

    folder: Path
    files: tuple[dict[str, Any], ...]
    missing: tuple[str, ...]


def plan_predictions(runs: Sequence[Run], data: Path, folder: Path) -> list[tuple[Run, list[TestSet]]]:
    """Each run with the test sets it is to answer, from GLUE's TSV files in `data`.

    Raises BadInput for a run that learned none of GLUE's tasks or keeps no weights, for two runs of one task, for what
    is wrong with the files, and for a `folder` that has files: a submission is of one call.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(Problem("is there and not empty", where=str(folder), hint="give a new folder"))
    problems: list[Problem] = []
    by_task: dict[str, Run] = {}
    for run in runs:
        try:
            check_keeps_weights(run)
            check_weights_are_here(run)
        except BadInput as error:
            problems += error.problems
            continue
        task = task_of(run).name
        if task not in SUBMITTED:
            problems.append(Problem(f"{run.id} learned {task}, which is no task of GLUE"))
        elif task in by_task:
            problems.append(Problem(f"{by_task[task].id} and {run.id} both learned {task}", hint="one run a task"))
        by_task[task] = run
    if problems:
        raise BadInput(problems)
    return [(run, load_tests(task, data)) for task, run in by_task.items()]


def write_predictions(planned: Sequence[tuple[Run, list[TestSet]]], folder: Path) -> Submission:
    """Answers every test set, then writes all into the new `folder`: a TSV each, and the files' provenance.

    The folder appears whole or not at all. Raises RunFailed for outputs that are not finite.
    """
    texts: dict[str, str] = {}
    files: list[dict[str, Any]] = []
    for run, tests in planned:
        task, device = task_of(run), device_of(recipe_of(run))
        for test in tests:
            _, _, outputs = answer(run, test.examples, device)
            file = f"{test.name}.tsv"
            texts[file] = test.written(_found(task, np.stack(outputs), run))
            files.append({"file": file, "task": task.name, "run": run.id, "test": test.facts})
    folder = folder.resolve()  # "." has no name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        whole = Path(beside) / folder.name
        whole.mkdir()
        for file, text in texts.items():
            write_text(whole / file, text)
        write_json(whole / PROVENANCE, {"files": files})
        whole.rename(folder)
    wanted = [f"{name}.tsv" for names in SUBMITTED.values() for name in names]
    return Submission(folder, tuple(files), tuple(name for name in wanted if name not in texts))


def _found(task: Task, outputs: np.ndarray, run: Run) -> list[float]:
    """Class indices, or scores, of outputs (N, K)."""
    if not np.isfinite(outputs).all():
        raise RunFailed(f"{run.id}: an output is not a number")
    return [float(value) for value in (outputs[:, 0] if task.kind == "regression" else outputs.argmax(-1))]
