"""Runs a study: what is left to do goes to a launcher, follow-ups as what they follow is finished; then the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actbench.errors import ActbenchError, BadInput
from actbench.report.page import StudyText, write_report
from actbench.store import Run, claim
from actbench.study.follow_up_plans import keeps_weights
from actbench.study.graph import Graph, Node
from actbench.study.launchers import Launcher, working
from actbench.study.stated import record, statements
from actbench.study.tasks import Task

if TYPE_CHECKING:
    from actbench.analysis.approximation import Kept

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of a study's runs. `report` is None while no run is finished."""

    report: Path | None
    finished: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # run: reason

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        report = None if self.report is None else str(self.report)
        return {"report": report, "finished": self.finished, "failed": self.failed}


def run_study(graph: Graph, launcher: Launcher, say: Say, *, retry: bool = False) -> Outcome:
    """Does what is left of a study and writes its report. What is finished is found by its content, and not repeated.

    A failed run stops no other; its reason is kept, and only `retry` tries it again. Raises Interrupted when the user
    stops it: what was being trained has then saved its state, and calling again goes on. What the study claims and
    compares is on record before anything runs; BadInput where the record is damaged.
    """
    record(graph)
    with working(launcher, "study stopped; the same command goes on from here"):
        unrecorded = _Scheduler(graph, launcher, say, retry).carry_out()
        unrecorded |= _approximate(graph, say)
    report, finished = report_study(graph, say)
    return Outcome(report, finished, {**unrecorded, **graph.failed()})


def report_study(graph: Graph, say: Say) -> tuple[Path | None, int]:
    """Writes the report of what is finished, and returns its page, if any, and how many runs it is of.

    It names what was begun and is not finished. Raises BadInput where the record of the claim is damaged.
    """
    study, begun = graph.study, [run for run in graph.known() if (run.folder / "run.json").is_file()]
    finished = sum(run.manifest is not None for run in begun)
    if not finished:
        return None, 0
    report = graph.folder / "report.html"
    say(f"writing {report}")
    stated = statements(graph, finished)
    text = StudyText(study.title, study.about, study.claim, study.comparisons, stated)
    write_report(graph.folder, text, begun, study.baseline, study.chosen, _approximated(graph))
    return report, finished


def _approximate(graph: Graph, say: Say) -> dict[str, str]:
    """Makes the fits that the study asks for and that are not there yet: here, for they need no model.

    Returns why each failed that did, by name; one stops no other.
    """
    request, failed = graph.study.approximation, {}
    if request is None:
        return {}
    from actbench.analysis.approximation import fit_once

    for target, activation, size in request.combinations:
        try:
            fit_once(target, activation, size, request.seeds, graph.runs, say)
        except Exception as error:  # an activation of one's own may raise anything
            reason = str(error) if isinstance(error, ActbenchError) else f"{type(error).__name__}: {error}"
            failed[f"fit of {target} by {activation}, {size} parameters"] = reason
    return failed


def _approximated(graph: Graph) -> Kept | None:
    if graph.study.approximation is None:
        return None
    from actbench.analysis.approximation import kept

    return kept(graph.study.approximation, graph.runs)


class _Scheduler:
    """Submits what can be done, and what that makes possible as it ends."""

    def __init__(self, graph: Graph, launcher: Launcher, say: Say, retry: bool):
        self.graph, self.launcher, self.say, self.retry = graph, launcher, say, retry
        self.unrecorded: dict[str, str] = {}  # why what another process holds could not be done
        self.submitted: set[str] = set()  # runs

    def carry_out(self) -> dict[str, str]:
        """Returns once nothing can be done any more: the runs that are not there and did not fail, and why."""
        nodes = {node.run.id: node for node in self.graph.nodes}
        tasks = [task for node in nodes.values() for task in self._new_tasks(node, retry=self.retry)]
        waiting = sum(len(nodes[task.run_ids[0]].follow_ups) for task in tasks if task.recipe)
        total, done = len(tasks) + waiting, 0
        self.say(f"finished runs: {len(self.graph.finished())}; tasks to do: {total}")
        self.launcher.submit(tasks)
        open_tasks = len(tasks)
        while open_tasks:
            for task, reason in self.launcher.ended():
                open_tasks, done = open_tasks - 1, done + 1
                self.say(f"[{done}/{total}] {task.title}: {self._judge(task, reason)}")
                node = nodes[task.parent or task.run_ids[0]]
                following: list[Task] = []
                if task.recipe and node.run.manifest is not None:
                    following = self._new_tasks(node, retry=self.retry)
                elif not task.recipe and any(map(keeps_weights, node.follow_ups)):  # what it tuned another one tests
                    following = self._new_tasks(node, retry=False)
                    total += len(following)
                self.launcher.submit(following)
                open_tasks += len(following)
        return self.unrecorded

    def _new_tasks(self, node: Node, *, retry: bool) -> list[Task]:
        """What can be done for a node now, without what this call has submitted before."""
        tasks = []
        for task in self.graph.next_tasks(node, retry=retry):
            if ids := tuple(run_id for run_id in task.run_ids if run_id not in self.submitted):
                tasks.append(replace(task, run_ids=ids))
                self.submitted.update(ids)
        return tasks

    def _judge(self, task: Task, reason: str) -> str:
        """What became of a task's runs, in words, once the failures among them are kept."""
        runs = [Run(self.graph.runs / run_id) for run_id in task.run_ids]
        failed = [run for run in runs if run.manifest is None]
        said, reason = reason, reason or "it ended without a result"
        begun = [run for run in failed if run.folder.exists()] or failed[:1]
        for run in failed:
            if run not in begun:  # nothing is known against it: the same command tries it
                self.unrecorded[run.id] = f"not reached: {reason}"
            elif run.status != "failed":
                self._keep(run, reason)
        if failed:
            why = failed[0].failure or self.unrecorded.get(failed[0].id, "")
            return f"failed: {why}" if len(runs) == 1 else f"{len(failed)} of {len(runs)} failed: {why}"
        return f"{_result(runs)}; {said}" if said else _result(runs)

    def _keep(self, run: Run, reason: str) -> None:
        """Records in the run's folder why it failed, unless another process is at it."""
        try:
            with claim(run.folder) as writer:
                writer.fail(reason)
        except BadInput as error:
            self.unrecorded[run.id] = str(error)


def _result(runs: list[Run]) -> str:
    """What finished runs came to."""
    if len(runs) > 1:
        return f"{len(runs)} runs finished"
    summary = runs[0].summary
    if runs[0].imported:
        return "taken in"
    if "validation_loss" in summary:
        return f"validation loss {summary['validation_loss']:.4f} after {summary['seconds']:.0f} s"
    metric, value = summary["headline"].values()
    return f"{metric} {'beyond all numbers' if value is None else f'{value:.4f}'}"
