"""What a study comes to: its pre-training runs, the follow-ups of each, and what is left to do. Read from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from actbench.config import Recipe
from actbench.data.hub import Unreachable
from actbench.errors import BadInput, Problem
from actbench.store import Run
from actbench.study.changes import Changes
from actbench.study.file import LoadedStudy, Study, load_study
from actbench.study.follow_up_plans import check, keeps_weights, plans_of
from actbench.study.follow_ups import FollowUp, titles
from actbench.study.tasks import Task
from actbench.training.known_model import ImportPlan, plan_import
from actbench.training.plan import Plan, plan

Say = Callable[[str], None]


@dataclass(frozen=True)
class Node:
    """One pre-training run, or a model that came ready, and what is done with it."""

    plan: Plan | ImportPlan
    follow_ups: tuple[FollowUp, ...]

    @property
    def run(self) -> Run:
        """The run as it is now."""
        return Run(self.plan.folder)


@dataclass(frozen=True)
class Graph:
    """A study's runs under the folder `runs`, each once, whatever the experiments it is part of."""

    study: Study
    nodes: tuple[Node, ...]
    runs: Path

    @property
    def folder(self) -> Path:
        """Where the study's own files are."""
        return self.runs / self.study.name

    @cached_property
    def titles(self) -> dict[FollowUp, str]:
        """What each follow-up is called, each otherwise."""
        return titles(follow_up for node in self.nodes for follow_up in node.follow_ups)

    def follow_up_runs(self, node: Node, follow_up: FollowUp) -> list[Run]:
        """The runs of a finished node's follow-up, as they are now. Raises BadInput when its data cannot be had."""
        return [planned.run for planned in plans_of(node.run, follow_up, self.runs)]

    def finished(self) -> list[Run]:
        """All finished runs, follow-ups after what they follow."""
        return [run for run in self.known() if run.manifest is not None]

    def known(self) -> Iterator[Run]:
        """All runs whose names are known: those of a follow-up only once its parent is finished."""
        for node in self.nodes:
            run = node.run
            yield run
            if run.manifest is not None:  # two follow-ups may have runs in common
                following = (found for follow_up in node.follow_ups for found in self.follow_up_runs(node, follow_up))
                yield from {found.id: found for found in following}.values()

    def failed(self) -> dict[str, str]:
        """Why each failed run did."""
        return {run.id: run.failure for run in self.known() if run.status == "failed"}

    def next_tasks(self, node: Node, *, retry: bool) -> list[Task]:
        """What can be done for a node now: train it or, once it is finished, its follow-ups. Failed runs by `retry`."""
        run = node.run
        if run.manifest is None:
            doing = "import" if isinstance(node.plan, ImportPlan) else "pretrain"
            return [Task(f"{doing} {run.id}", (run.id,), recipe=node.plan.recipe)] if _open(run, retry) else []
        tasks: list[Task] = []
        for follow_up in sorted(node.follow_ups, key=lambda one: not keeps_weights(one)):  # a run in common keeps them
            given = {run_id for task in tasks for run_id in task.run_ids}
            found = (found for found in self.follow_up_runs(node, follow_up) if found.id not in given)
            ids = tuple(one.id for one in found if _open(one, retry))
            if ids:
                tasks.append(Task(f"{self.titles[follow_up]} {run.id}", ids, parent=run.id, follow_up=follow_up))
        return tasks


def open_study(path: Path, runs: Path, say: Say, changes: Changes | None = None) -> Graph:
    """Reads a study file and plans its runs. Raises BadInput for all that is wrong with it or cannot be run here."""
    return plan_graph(load_study(path, changes), runs, say)


def plan_graph(loaded: LoadedStudy, runs: Path, say: Say) -> Graph:
    """Prepares every run's tokens and every follow-up's data.

    Raises BadInput for all that cannot be run here. Where the hub cannot be reached, it is not asked for anything more.
    """
    follow_ups: dict[Path, dict[FollowUp, None]] = {}
    plans: dict[Path, Plan | ImportPlan] = {}
    problems: list[Problem] = []
    for job in loaded.jobs:
        placed = zip(job.follow_ups, job.places, strict=True)
        suited = [(one, place) for one, place in placed if one.suits(job.recipe)]
        problems += _cannot_follow(job.recipe, suited)
        try:
            planned = plan_any(job.recipe, runs, _quiet(say))
        except Unreachable:
            raise
        except BadInput as error:
            problems += error.problems
            continue
        if job.recipe.hardware.nodes > 1 and Run(planned.folder).manifest is None:
            hint = "train this run by torchrun or srun; the study then finds it finished"
            problems.append(Problem("a study gives each run one node", key="hardware.nodes", hint=hint))
            continue
        plans.setdefault(planned.folder, planned)
        follow_ups.setdefault(planned.folder, {}).update(dict.fromkeys(one for one, _ in suited))
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    nodes = tuple(Node(planned, tuple(follow_ups[folder])) for folder, planned in plans.items())
    return Graph(loaded.study, nodes, runs)


def _cannot_follow(recipe: Recipe, suited: Sequence[tuple[FollowUp, tuple[str, str]]]) -> Iterator[Problem]:
    """What the follow-ups of a job lack, told by their place in the study's file. Raises Unreachable at once."""
    for follow_up, (place, key) in suited:
        try:
            check(follow_up, recipe)
        except Unreachable as error:
            raise Unreachable(_placed(error, place, key)) from None
        except BadInput as error:
            yield from _placed(error, place, key)


def _placed(error: BadInput, place: str, key: str) -> Iterator[Problem]:
    for problem in error.problems:
        said = f"{problem.where}: {problem.message}" if problem.where else problem.message
        yield Problem(said, place, key, problem.hint)


def plan_any(recipe: Recipe, runs: Path, say: Say) -> Plan | ImportPlan:
    """The plan to train what a recipe says, or to take its checkpoint in."""
    return plan_import(recipe, runs) if recipe.corpus.source == "checkpoint" else plan(recipe, runs, say)


def _quiet(say: Say) -> Say:
    """Only what takes time is worth a line: 'packing ...' and its like, not what was found ready."""
    return lambda message: say(message) if "packing" in message else None


def _open(run: Run, retry: bool) -> bool:
    return run.manifest is None and (retry or run.status != "failed")
