"""This machine: so many processes at once, each with its share of the cores and, where they go round, its own GPUs."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from actbench.errors import BadInput, Interrupted, Problem
from actbench.store import identity_hash
from actbench.study.launchers import check_options
from actbench.study.tasks import Task, perform
from actbench.training.hardware import use_threads
from actbench.training.signals import end_with_parent

# The server imports these once and forks a clean process for each task: none pays for imports, none sees another's
# memory, threads or compiled code.
PRELOADED = ["actbench.training.pretrain", "actbench.training.finetune", "actbench.study.tasks"]


def open_launcher(runs: Path, folder: Path, options: dict[str, str]) -> LocalLauncher:
    """Its one option: `jobs`, how many tasks at once. Raises BadInput for another, or for a number below one."""
    check_options(options, ["jobs"])
    jobs = options.get("jobs", "1")
    if not jobs.isdecimal() or int(jobs) < 1:
        raise BadInput(Problem(f"'{jobs}' is no number of jobs", "--jobs", hint="1 or more"))
    return LocalLauncher(runs, folder, int(jobs))


class LocalLauncher:
    """Forks a process a task. Of several at once each writes what it says into a file in `folder`/logs, if any."""

    def __init__(self, runs: Path, folder: Path | None, jobs: int = 1):
        self.runs, self.folder, self.jobs = runs, folder, jobs
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._queue: deque[Task] = deque()
        self._running: dict[Any, tuple[Task, Connection]] = {}  # by process
        self._gpus = visible_gpus()
        self._given: dict[Any, list[str]] = {}  # GPUs, by process

    def submit(self, tasks: Sequence[Task]) -> None:
        """See Launcher."""
        self._queue.extend(tasks)
        self._start()

    def ended(self) -> list[tuple[Task, str]]:
        """See Launcher."""
        if not self._running:
            return []
        wait([process.sentinel for process in self._running])
        done = [process for process in self._running if not process.is_alive()]
        found = []
        for process in done:
            task, receiver = self._running.pop(process)
            self._given.pop(process)
            found.append((task, self._reason(task, process, receiver)))
        self._start()
        return found

    def stop(self, signal_number: int) -> None:
        """See Launcher."""
        self._queue.clear()
        started = [process for process in self._running if process.pid is not None]
        for process in started:
            process.terminate()  # whatever the signal was: the task saves its state and ends
        for process in started:
            process.join()
        self._running.clear()
        self._given.clear()

    def _start(self) -> None:
        while self._queue and len(self._running) < self.jobs:
            task = self._queue.popleft()
            receiver, sender = self._context.Pipe(duplex=False)
            log = self._log(task)
            gpus = self._gpus_for(task)
            arguments = (sender, task, self.runs, log, threads(self.jobs), gpus)
            process = self._context.Process(target=_work, args=arguments)
            self._given[process] = gpus
            self._running[process] = task, receiver  # before it starts, so that a signal here leaves none behind
            process.start()
            sender.close()

    def _gpus_for(self, task: Task) -> list[str]:
        """As many as the task needs, of those that the fewest others have."""
        taken = Counter(gpu for gpus in self._given.values() for gpu in gpus)
        wanted = task.recipe.hardware.devices if task.recipe else 1
        return sorted(self._gpus, key=lambda gpu: taken[gpu])[:wanted]

    def _log(self, task: Task) -> Path | None:
        if self.folder is None or self.jobs == 1:
            return None
        folder = self.folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / log_name(task)

    def _reason(self, task: Task, process: Any, receiver: Connection) -> str:
        try:
            reason = str(receiver.recv()) if receiver.poll(0) else ""
        except EOFError:  # it ended without a word
            reason = ""
        receiver.close()
        if process.exitcode and not reason:
            reason = f"the process ended with {_ended_by(process.exitcode)}"
        log = self._log(task)
        return f"{reason} (see {log})" if reason and log else reason


def log_name(task: Task) -> str:
    """The name of a task's log: its title, as it can be typed without quotes; a hash tells what that takes from it."""
    words = re.sub(r"[()]|,(?= )", "", task.title).replace(" ", "-")
    name = re.sub(r"[^\w.,+=#:-]", "_", words)
    return f"{name}.log" if name == words else f"{name}-{identity_hash({'title': task.title})}.log"


def visible_gpus() -> list[str]:
    """The machine's GPUs, or those that CUDA_VISIBLE_DEVICES leaves of them, as it names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [name.strip() for name in named.split(",") if name.strip()]


def threads(jobs: int) -> int:
    """How many threads each of so many jobs computes with: its share of those that one would use alone."""
    return max(1, torch.get_num_threads() // jobs)


def _work(sender: Connection, task: Task, runs: Path, log: Path | None, n_threads: int, gpus: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the study passes it on as SIGTERM
    threading.Thread(target=end_with_parent, daemon=True).start()
    if log is not None:
        _write_into(log)
    use_threads(n_threads)
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    try:
        sender.send(perform(task, runs))
    except Interrupted as error:
        raise SystemExit(error.exit_code) from None


def _write_into(log: Path) -> None:
    with log.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def _ended_by(exit_code: int) -> str:
    return f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
