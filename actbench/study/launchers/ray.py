"""A Ray cluster that is there already: each task is a Ray task in a fresh process, retried when its node is lost."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.config.yaml_source import parse_value
from actbench.errors import BadInput, Interrupted, Problem
from actbench.study.launchers import check_options
from actbench.study.tasks import Task, perform
from actbench.training.hardware import use_threads

# Ray's names. A task waits until a node has this much free.
DEFAULTS = {"num_cpus": 1, "num_gpus": 0, "max_retries": 3}
LOOK_S = 0.5
OPTIONS = ("address", *DEFAULTS, "memory", "resources", "accelerator_type", "scheduling_strategy")


def open_launcher(runs: Path, folder: Path, options: dict[str, str]) -> RayLauncher:
    """Its options: `address` of the cluster, and what Ray asks of a node for a task.

    Raises BadInput for another option, or where Ray or the cluster is not there.
    """
    os.environ.setdefault(
        "RAY_NUM_REDIS_GET_RETRIES", "1"
    )  # Ray reads it on import; by default it tries for 15 minutes
    try:
        import ray
    except ImportError:
        raise BadInput(Problem("ray is not installed", "--launcher ray", hint="pip install ray")) from None
    check_options(options, OPTIONS)
    given = {key: parse_value(text) for key, text in options.items() if key != "address"}
    values: dict[str, Any] = DEFAULTS | {key: value for key, value in given.items() if value is not None}
    try:
        work = ray.remote(**values, max_calls=1)(do)
    except (TypeError, ValueError) as error:
        raise BadInput(Problem(str(error), "--launcher-set")) from None
    _connect(options.get("address", "auto"))
    return RayLauncher(work, Place.here(runs, folder, values["num_cpus"]))


def _connect(address: str) -> None:
    import ray

    host, colon, port = address.rpartition(":")
    try:
        if (
            colon and port.isdecimal() and "://" not in address
        ):  # Ray itself takes a minute to find that nobody is there
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        hint = "`ray start --head` starts one, --launcher-set address=HOST:PORT names one"
        raise BadInput(Problem(f"no Ray cluster at {address}: {error}", "--launcher ray", hint=hint)) from None


@dataclass(frozen=True)
class Place:
    """Where a study runs, for a process that Ray starts elsewhere."""

    runs: Path
    folder: Path
    working: Path
    settings: dict[str, str]  # actbench's environment variables
    threads: int

    @classmethod
    def here(cls, runs: Path, folder: Path, n_threads: float) -> Place:
        """That of this process."""
        settings = {name: value for name, value in os.environ.items() if name.startswith("ACTBENCH_")}
        return cls(runs.resolve(), folder.resolve(), Path.cwd(), settings, max(1, int(n_threads)))

    def enter(self) -> str:
        """Makes it this process's own. Returns why it cannot, or ""."""
        for folder in (self.folder, self.working):
            if not folder.is_dir():
                return f"{folder} is not there on {socket.gethostname()}: all nodes must share it"
        os.environ.update(self.settings)
        os.chdir(self.working)
        use_threads(self.threads)
        return ""


def do(task: Task, place: Place) -> str:
    """What a Ray worker does: the task. Returns why it failed, or "".

    SIGTERM means that the node goes: the process dies, its state saved, so that Ray does the task elsewhere.
    """
    from actbench.training.signals import Stop

    Stop.repeats = True
    try:
        return place.enter() or perform(task, place.runs)
    except Interrupted as stopped:
        if stopped.signal_number == signal.SIGTERM:
            os._exit(stopped.exit_code)
        raise


class RayLauncher:
    """Gives every task to Ray, which starts it when a node is free."""

    def __init__(self, work: Any, place: Place):
        self.work, self.place = work, place
        self.tasks: dict[Any, Task] = {}  # by Ray's reference to the result

    def submit(self, tasks: Sequence[Task]) -> None:
        """See Launcher."""
        self.place.folder.mkdir(parents=True, exist_ok=True)
        for task in tasks:
            self.tasks[self.work.options(name=task.title).remote(task, self.place)] = task

    def ended(self) -> list[tuple[Task, str]]:
        """See Launcher."""
        return [(self.tasks.pop(reference), _reason(reference)) for reference in self._wait_for(1)]

    def stop(self, signal_number: int) -> None:
        """See Launcher. Ray's cancelling reaches a worker as a Ctrl-C."""
        import ray

        for reference in self.tasks:
            ray.cancel(reference, recursive=False)
        self._wait_for(len(self.tasks))
        self.tasks.clear()

    def _wait_for(self, n: int) -> list[Any]:
        """At least `n` tasks that have ended, or all there are. It sleeps in Python: Ray's wait chokes on a signal."""
        import ray

        while True:
            done, _ = ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0) if self.tasks else ([], [])
            if len(done) >= min(n, len(self.tasks)):
                return list(done)
            time.sleep(LOOK_S)


def _reason(reference: Any) -> str:
    import ray

    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[-1]
