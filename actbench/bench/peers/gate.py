"""A side's end of the pipe: it works as many steps as the other process says, tells how long they took, and waits."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import TextIO

from actbench.bench.peers.orders import Report, Turn
from actbench.training.memory import peak_memory_bytes


class Gate:
    """Whoever works calls `step_done` after each step, or lets `follow_optimizers` do so; either blocks between turns.

    The first step needs no leave, since it compiles; so the first answer tells that all is ready.
    """

    def __init__(self, commands: TextIO, answers: TextIO):
        self._commands, self._answers = commands, answers
        self._left = 1.0
        self._began = time.perf_counter()

    def follow_optimizers(self) -> None:
        """Takes a step as done when an optimiser of this process has stepped: true of every way to train."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(lambda *_: self.step_done())

    def step_done(self) -> None:
        """Counts a step; after the last one of a turn, answers and waits for the next."""
        self._left -= 1
        if self._left > 0:
            return
        _finish_device_work()
        turn = Turn(seconds=time.perf_counter() - self._began, peak_bytes=peak_bytes())
        self._answers.write(turn.model_dump_json() + "\n")
        self._answers.flush()
        self._left = self._next()
        self._began = time.perf_counter()

    def close(self, report: Report) -> None:
        """The last answer."""
        self._answers.write(report.model_dump_json() + "\n")
        self._answers.close()

    def _next(self) -> float:
        """Steps to do now: a number, or null for all that are left."""
        line = self._commands.readline()
        if not line:  # the other process is gone: nobody is left to clean up for, or to tell
            os._exit(1)
        steps = json.loads(line)
        return math.inf if steps is None else float(steps)


def peak_bytes() -> int:
    """The most memory held so far: on a GPU where one is in use, else by this process."""
    torch = sys.modules.get("torch")
    return peak_memory_bytes("cuda" if torch is not None and torch.cuda.is_available() else "cpu")


def _finish_device_work() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
