"""Which zero-shot evaluations a call means, and whether they have been made; importing this reads no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from actbench.data import blimp
from actbench.data.requests import OFFICIAL, RequestTask, has_requests, load_requests
from actbench.errors import BadInput, Problem, nearest
from actbench.store import Run, identity_hash

MEASURE = "zero-shot"
LOCAL = (*OFFICIAL, blimp.NAME)


@dataclass(frozen=True)
class HarnessTask:
    """A task of lm-evaluation-harness by its name there, with the first `limit` items or all of them."""

    name: str
    limit: int | None
    version: str  # of the package


@dataclass(frozen=True)
class ZeroShotPlan:
    """One pre-trained decoder and one task."""

    parent: Run
    task: RequestTask | HarnessTask
    folder: Path

    @property
    def run(self) -> Run:
        """The run this plan leads to, finished or not."""
        return Run(self.folder)


def find_tasks(names: Sequence[str], data: Path | None, limit: int | None) -> list[RequestTask | HarnessTask]:
    """The tasks, from the folder `data`, or of lm-evaluation-harness where `data` has none of the name.

    Raises BadInput for every task that is in neither, and for files that cannot be read.
    """
    if data is not None and not data.is_dir():
        raise BadInput(Problem("no such folder", where=str(data), hint="give the folder that holds the tasks' folders"))
    tasks: list[RequestTask | HarnessTask] = []
    problems: list[Problem] = []
    for name in dict.fromkeys(names):
        try:
            tasks.append(_find(name, data, limit))
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    return tasks


def plan_zero_shot(parent: Run, tasks: Sequence[RequestTask | HarnessTask], runs: Path) -> list[ZeroShotPlan]:
    """A plan a task. Raises BadInput as `usable` does."""
    usable(parent)
    return [ZeroShotPlan(parent, task, runs / f"{parent.id}-{task.name}-{_identity(parent, task)}") for task in tasks]


def usable(run: Run) -> Run:
    """The run itself. Raises BadInput when it is not a finished decoder."""
    if run.kind != "pretrain":
        raise BadInput(Problem(f"{run.id} is not a pre-training run", hint="zero-shot tasks are for one"))
    if run.info["recipe"]["model"]["family"] != "gpt":
        raise BadInput(needs_a_decoder(run))
    if run.manifest is None:
        raise BadInput(Problem(f"run {run.id} is not finished ({run.status})", hint="finish it with --resume"))
    return run


def needs_a_decoder(run: Run) -> Problem:
    """What to say of a run whose model reads to both sides."""
    family = str(run.info["recipe"]["model"]["family"]).upper()
    message = f"{run.id} is a {family}, and zero-shot evaluation needs a decoder"
    return Problem(message, hint="give a run of family gpt; a BERT is fine-tuned: actbench finetune")


def _find(name: str, data: Path | None, limit: int | None) -> RequestTask | HarnessTask:
    if not name or Path(name).name != name:
        raise BadInput(Problem(f"'{name}' is no name of a task", "--tasks", hint=f"known: {', '.join(LOCAL)}"))
    if data is not None and name == blimp.NAME:
        return blimp.load_blimp(data, limit)
    if data is not None and (name in LOCAL or has_requests(name, data)):
        return load_requests(name, data, limit)
    if find_spec("lm_eval") is None:
        if name in LOCAL:
            hint = "give --data DIR, the folder that holds its files; without it: pip install 'actbench[eval]'"
            raise BadInput(Problem(f"{name} is read from request files", "--tasks", hint=hint))
        hint = f"{nearest(name, LOCAL)}; other tasks come with lm-evaluation-harness: pip install 'actbench[eval]'"
        raise BadInput(Problem(f"unknown task '{name}'", "--tasks", hint=hint))
    from actbench.evaluation.harness import check_name

    check_name(name)
    return HarnessTask(name, limit, version("lm_eval"))


def _identity(parent: Run, task: RequestTask | HarnessTask) -> str:
    assert parent.manifest is not None
    if isinstance(task, HarnessTask):
        asked = {"harness": task.version, "limit": task.limit}
    else:
        asked = {"items": task.facts["items_sha256"], "headline": task.headline}
    weights = {name: parent.manifest["files"][name] for name in ("model.safetensors", "tokenizer.json")}
    return identity_hash({"kind": "evaluate", "parent": weights, "measure": MEASURE, "task": task.name, **asked})
