"""One number a task, and their mean over tasks, as RAFT averages GLUE (Fang et al. 2023)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class TaskMean:
    """The mean over `tasks`, at the seeds that each of them has; `sd` over those seeds, None of a single one."""

    tasks: tuple[str, ...]
    mean: float
    sd: float | None
    seeds: int

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        return {"tasks": list(self.tasks), "mean": self.mean, "sd": self.sd, "seeds": self.seeds}


def task_number(summary: Mapping[str, Any]) -> float:
    """What a run's task counts with: its headline score, of several evaluation sets their mean.

    MNLI alone has several: matched and mismatched. A zero-shot run has one, and its scores are not told by set.
    """
    metric, value = summary["headline"]["metric"], summary["headline"]["value"]
    sets = [scores for scores in summary["scores"].values() if isinstance(scores, Mapping)]
    return fmean(scores[metric] for scores in sets) if len(sets) > 1 else float(value)


def mean_over_tasks(results: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> TaskMean | None:
    """Of summaries with a `seed` each, the mean over all `tasks`; None of fewer than two, or without a common seed."""
    by_task = {
        task: {int(one["seed"]): task_number(one) for one in results if one["task"] == task}
        for task in dict.fromkeys(tasks)
    }
    seeds = set.intersection(*map(set, by_task.values())) if by_task else set()
    if len(by_task) < 2 or not seeds:
        return None
    means = [fmean(numbers[seed] for numbers in by_task.values()) for seed in sorted(seeds)]
    return TaskMean(tuple(by_task), fmean(means), stdev(means) if len(means) > 1 else None, len(means))


def how_counted(sets: Mapping[str, Collection[str]]) -> str:
    """A sentence on what each task counts with; `sets` are the evaluation sets that were scored, by task."""
    several = [f"{task} with the mean of {' and '.join(names)}" for task, names in sets.items() if len(names) > 1]
    if "mnli" in sets and len(sets["mnli"]) == 1:
        several = [f"mnli with {next(iter(sets['mnli']))} alone, for dev_mismatched is absent"]
    return "; ".join(["Each task counts with one number, its headline score", *several]) + "."
