"""Where a study's tasks are done. A launcher is one file in this folder, chosen by its name, with `open_launcher`."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from actbench.errors import BadInput, Problem, nearest
from actbench.study.tasks import Task
from actbench.training.signals import Signalled, interruptible


class Launcher(Protocol):
    """Does tasks somewhere, several at once. What became of a task's runs is read from the store, not from here."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Starts the tasks, or queues them, and returns at once."""

    def ended(self) -> list[tuple[Task, str]]:
        """Waits until at least one submitted task has ended: each with why it failed, or "". Nothing: none is left."""

    def stop(self, signal_number: int) -> None:
        """Stops all tasks and returns when each has saved its state and ended; those queued never start."""


def launcher_names() -> list[str]:
    """The launchers there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def open_launcher(name: str, runs: Path, folder: Path, options: Mapping[str, str]) -> Launcher:
    """The launcher called `name`, its own files in the study's `folder`.

    Raises BadInput for an unknown name or option, and where what the launcher needs is not there.
    """
    if name not in launcher_names():
        raise BadInput(Problem(f"unknown launcher '{name}'", "--launcher", hint=nearest(name, launcher_names())))
    module = importlib.import_module(f"{__name__}.{name}")
    opened: Launcher = module.open_launcher(runs, folder, dict(options))
    return opened


@contextlib.contextmanager
def working(launcher: Launcher, message: str) -> Iterator[None]:
    """Stops what the launcher does where the body fails, or is interrupted by a signal: then Interrupted says why."""
    with interruptible(message):
        try:
            yield
        except BaseException as error:
            launcher.stop(error.number if isinstance(error, Signalled) else signal.SIGTERM)
            raise


def check_options(options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises BadInput for every option that is not among the `known`."""
    unknown = [option for option in options if option not in known]
    if "jobs" in unknown:
        raise BadInput(Problem("only the local launcher counts jobs", "--jobs", hint="on a cluster its options do"))
    if unknown:
        raise BadInput(
            [Problem(f"unknown option '{option}'", "--launcher-set", hint=nearest(option, known)) for option in unknown]
        )
