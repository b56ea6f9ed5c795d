"""`actbench finetune --jobs`: one call's runs in several processes of this machine, each with a share of the cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from actbench.config import FinetuneSettings
from actbench.config.grid import FinetuneGrid
from actbench.data import glue, probes
from actbench.study.follow_ups import LabelsFollowUp, SquadFollowUp
from actbench.study.launchers import working
from actbench.study.launchers.local import LocalLauncher
from actbench.study.tasks import Task
from actbench.training.finetune_plan import FinetunePlan
from actbench.training.finetune_stack import STOPPED
from actbench.training.plan import Say


def finetune_in_jobs(
    plans: Sequence[FinetunePlan],
    settings: FinetuneSettings,
    grid: FinetuneGrid,
    data: str | None,
    runs: Path,
    jobs: int,
    say: Say,
) -> None:
    """Does what is left of the plans, which one call made of one model with these settings, grid and data.

    What became of each run stands in its folder. Raises Interrupted after a signal: finished runs stand.
    """
    launcher = LocalLauncher(runs, None, jobs)
    with working(launcher, STOPPED):
        tasks = list(_tasks(plans, settings, grid, data, jobs))
        launcher.submit(tasks)
        left = len(tasks)
        while left:
            for task, reason in launcher.ended():
                left -= 1
                if reason:
                    say(f"{task.title}: {reason}")


def _tasks(
    plans: Sequence[FinetunePlan], settings: FinetuneSettings, grid: FinetuneGrid, data: str | None, jobs: int
) -> Iterator[Task]:
    """As many parts of each task's runs as there are jobs: what is alike trains side by side in one process."""
    seeds = list(dict.fromkeys(plan.seed for plan in plans))
    left = [plan for plan in plans if plan.run.manifest is None]
    for name, alike in groupby(left, key=lambda plan: plan.data.task.name):
        own = list(alike)
        follow_up = _follow_up(name, seeds, settings, grid, data)
        size = -(-len(own) // jobs)
        for start in range(0, len(own), size):
            part = own[start : start + size]
            parent = str(part[0].parent.folder.resolve())
            yield Task(f"finetune {name}", tuple(plan.run.id for plan in part), parent=parent, follow_up=follow_up)


def _follow_up(
    task: str, seeds: list[int], settings: FinetuneSettings, grid: FinetuneGrid, data: str | None
) -> LabelsFollowUp | SquadFollowUp:
    said: dict[str, Any] = {"seeds": seeds, "settings": settings, "grid": grid}
    if task in probes.TASKS:
        return LabelsFollowUp.model_validate({"finetune": "probes", "tasks": [task], **said})
    if task in glue.TASKS:
        return LabelsFollowUp.model_validate({"finetune": "glue", "tasks": [task], "data": data, **said})
    return SquadFollowUp.model_validate({"finetune": task, "data": data, **said})
