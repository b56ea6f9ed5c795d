"""This end of the pipe: starts the two sides, each in a process of its own, and lets them work in turn."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from actbench.bench.peers.orders import Order, Report, Turn

WARM_UP = 2  # steps of each side that are not timed; the first one compiles
MODULE = "actbench.bench.peers.side"  # what a side's process runs


class SideFailed(Exception):
    """A side ended before it was done. The message says which and how."""


class Side:
    """One side's process. Close it, or use it in a `with` statement: nothing that it started stays."""

    def __init__(self, program: str, order: Order, environment: dict[str, str]):
        self._program = program
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._began = time.perf_counter()
        # A session of its own: Ctrl-C reaches this process alone, which then ends the whole group.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
            encoding="utf-8",
        )
        self._send(order.model_dump_json())

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def first_step(self) -> float:
        """Waits for the end of the first step; seconds since the process was started."""
        self._turn()
        return time.perf_counter() - self._began

    def go(self, steps: int) -> Turn:
        """Lets it do so many steps. Raises SideFailed when it ends instead."""
        self._send(json.dumps(steps))
        return self._turn()

    def finish(self) -> Report:
        """Lets it do the rest, without a pause, and returns its report."""
        self._send(json.dumps(None))
        return Report.model_validate_json(self._answer())

    def close(self) -> None:
        """Ends the process, and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SideFailed(self._reason()) from None

    def _turn(self) -> Turn:
        line = self._answer()
        if "seconds" not in json.loads(line):
            raise SideFailed(f"{self._program} finished without doing the steps that it was told to do")
        return Turn.model_validate_json(line)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SideFailed(self._reason())
        return line

    def _reason(self) -> str:
        """The last line of what it wrote to standard error, or the signal that ended it."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        if code < 0:
            return f"{self._program} was ended by {signal.Signals(-code).name}"
        last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")
        return f"{self._program}: {last}"


@dataclass(frozen=True)
class Measured:
    """One side: seconds of each round, seconds from its start to its first step, peak memory, what it found."""

    seconds: tuple[float, ...]
    first_step: float
    peak_bytes: int
    report: Report


def alternate(
    start_ours: Callable[[], Side], start_theirs: Callable[[], Side], *, rounds: int, steps: int
) -> tuple[Measured, Measured]:
    """Starts one after the other, lets both warm up, then has them take turns of `steps` steps each.

    Ours, theirs, ours, theirs, ...: a round is a turn of each. Raises SideFailed, naming the side.
    """
    with contextlib.ExitStack() as running:
        sides, first_steps = [], []
        for start in (start_ours, start_theirs):
            sides.append(running.enter_context(start()))
            first_steps.append(sides[-1].first_step())
        for _ in range(WARM_UP - 1):
            for side in sides:
                side.go(1)
        turns = [[side.go(steps) for side in sides] for _ in range(rounds)]
        reports = [side.finish() for side in sides]
    mine, other = (
        Measured(tuple(pair[i].seconds for pair in turns), first_steps[i], turns[-1][i].peak_bytes, reports[i])
        for i in (0, 1)
    )
    return mine, other
