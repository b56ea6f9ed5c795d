"""The scores of a call of `actbench finetune`, as a table and as JSON data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from actbench.analysis.grids import Choice
from actbench.analysis.task_numbers import TaskMean, how_counted
from actbench.cli.show import print_rows
from actbench.data.tasks import TaskData

Results = Sequence[dict[str, Any]]


def print_scores(
    tasks: Sequence[TaskData], results: Results, average: TaskMean | None, choices: Mapping[str, Choice]
) -> None:
    """A row a task, metric and evaluation set; then, where there is one, the mean over tasks and what it is of.

    With `choices` by task also how many points of a grid were tried, and which was chosen.
    """
    rows = [[*row, *_chosen(choices.get(data.task.name))] for data in tasks for row in _rows(data, results)]
    heads = ["task", "metric", "mean", "sd", "seeds", *(["points", "chosen"] if choices else [])]
    rows += [_mean_row(average)] if average else []
    print_rows(heads, [[*row, *["-"] * (len(heads) - len(row))] for row in rows])
    if average:
        print(f"The mean is over {', '.join(map(_described, tasks))}. {how_counted(_sets(tasks))}")


def over_tasks(tasks: Sequence[TaskData], average: TaskMean | None) -> dict[str, Any] | None:
    """The mean over tasks, and which of them are stand-ins or parts of data sets."""
    if average is None:
        return None
    stand_ins = [data.task.name for data in tasks if data.task.stand_in]
    subsets = [data.task.name for data in tasks if data.facts.get("subset")]
    return {**average.facts(), "stand_ins": stand_ins, "subsets": subsets, "evaluation_sets": _sets(tasks)}


def _rows(data: TaskData, results: Results) -> Iterator[list[str]]:
    task = data.task
    name = f"{task.name} (stand-in)" if task.stand_in else task.name
    for found in data.evaluation:
        for metric in dict.fromkeys([*task.metrics, task.headline]):
            values = [result["scores"][found][metric] for result in results if result["task"] == task.name]
            where = metric if len(data.evaluation) == 1 else f"{metric} ({found})"
            yield [name, where, *_mean_and_sd(values), str(len(values))]


def _chosen(choice: Choice | None) -> list[str]:
    return [] if choice is None else [str(choice.points), choice.chosen.words]


def _mean_and_sd(values: Sequence[float]) -> tuple[str, str]:
    return f"{mean(values):.4f}" if values else "-", f"{stdev(values):.4f}" if len(values) > 1 else "-"


def _mean_row(average: TaskMean) -> list[str]:
    sd = "-" if average.sd is None else f"{average.sd:.4f}"
    return [f"mean over {len(average.tasks)} tasks", "", f"{average.mean:.4f}", sd, str(average.seeds)]


def _described(data: TaskData) -> str:
    """Neither a stand-in nor a part of a data set is called by its name alone."""
    remark = "stand-in" if data.task.stand_in else "a part of the published set" if data.facts.get("subset") else ""
    return f"{data.task.name} ({remark})" if remark else data.task.name


def _sets(tasks: Sequence[TaskData]) -> dict[str, list[str]]:
    return {data.task.name: list(data.evaluation) for data in tasks}
