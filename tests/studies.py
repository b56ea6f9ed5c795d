"""What tests of studies share: a launcher without processes, and one call from a file to its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actbench.study import Graph, Outcome, open_study, run_study
from actbench.study.launchers import Launcher
from actbench.study.tasks import Task, perform


class Here:
    """Does one task after the other in this process."""

    def __init__(self, runs: Path):
        self.runs = runs
        self.queue: list[Task] = []
        self.submitted: list[str] = []

    def submit(self, tasks: Sequence[Task]) -> None:
        self.queue += tasks
        self.submitted += [task.title for task in tasks]

    def ended(self) -> list[tuple[Task, str]]:
        task = self.queue.pop(0)
        return [(task, perform(task, self.runs))]

    def stop(self, signal_number: int) -> None:
        self.queue.clear()


def planned(path: Path) -> Graph:
    """The study of the file, its runs in a folder beside it."""
    return open_study(path, path.parent / "runs", lambda _: None)


def carry_out(
    path: Path, launcher: Launcher | None = None, said: list[str] | None = None, *, retry: bool = False
) -> Outcome:
    """Runs the study of the file in a folder `runs` beside it."""
    launcher = launcher or Here(path.parent / "runs")
    return run_study(planned(path), launcher, (said if said is not None else []).append, retry=retry)
