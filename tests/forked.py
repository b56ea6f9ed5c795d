"""The `actbench` command in a process that is forked, not started: its libraries are imported already.

A fresh process spends seconds on importing torch and Lightning. multiprocessing's fork server does so once for each
worker of the suite, and forks a clean process for each command, with arguments, folder, environment, output and exit
code of its own; signals end it as they end any other. What forking hides is left to tests that start a fresh process:
the installed script, what is imported when, and variables that a library reads when it is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
# Nothing that starts a thread or computes: a fork has the forking thread alone.
PRELOADED = [
    *(
        "actbench.cli.main",
        "actbench.training.pretrain",
        "actbench.training.finetune",
        "actbench.evaluation.perplexity",
    ),
    *("actbench.report.page", "actbench.report.figures_activations", "torch._dynamo"),
]


class Forked:
    """A command that runs, with what tests need of subprocess.Popen."""

    def __init__(self, arguments: list[str], folder: Path):
        self.args = ["actbench", *arguments]
        self._streams = tempfile.TemporaryDirectory()
        self._files = [Path(self._streams.name) / name for name in ("stdout", "stderr")]
        SERVER.set_forkserver_preload(PRELOADED)
        self._process = SERVER.Process(target=_run, args=(self.args, folder, dict(os.environ), self._files))
        self._process.start()

    def poll(self) -> int | None:
        """The exit code, once it has ended; -n after signal n."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """As `kill` does."""
        os.kill(self._process.pid or 0, number)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. A command that takes longer is killed: raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.send_signal(signal.SIGKILL)
            self._process.join()
            raise subprocess.TimeoutExpired(self.args, timeout or 0, *self._said())
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said on stdout and stderr until it ended."""
        self.wait(timeout)
        return self._said()

    def _said(self) -> tuple[str, str]:
        out, err = (file.read_text(encoding="utf-8") if file.exists() else "" for file in self._files)
        return out, err


def run(arguments: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    command = Forked(arguments, folder)
    out, err = command.communicate(timeout)
    return subprocess.CompletedProcess(command.args, command.wait(), out, err)


def _run(arguments: list[str], folder: Path, environment: dict[str, str], files: list[Path]) -> None:
    """In the forked process: becomes what the shell would have started."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = arguments
    from actbench.cli.main import main

    main()
