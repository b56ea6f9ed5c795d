"""SIGINT and SIGTERM while training: noted, obeyed at the end of a step, and told in the exit code."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any, ClassVar

from actbench.errors import Interrupted


class Stop:
    """Whether a signal asked to stop. A second Ctrl-C stops at once; what was saved last stands.

    A second SIGTERM changes nothing: Slurm sends several when it preempts a job, and a parent may repeat one. Nor does
    a second Ctrl-C where `repeats`: Ray's cancelling comes as one, again and again until the task has ended.
    """

    repeats: ClassVar[bool] = False
    number: int | None = None

    def listen(self) -> None:
        """Takes both signals over, unless one is ignored, as under nohup."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if self.number is None:
            self.number = number
        elif number == signal.SIGINT and not self.repeats:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextlib.contextmanager
def stoppable(message: str) -> Iterator[Stop]:
    """Listens while the body trains. Raises Interrupted with `message` when a signal came, however the body ended.

    Lightning takes SIGTERM over when it starts and then ends with exit code 0, so whoever trains calls `listen` again
    once training has started; what Lightning makes of a signal before that is turned into Interrupted here.
    """
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop = Stop()
    stop.listen()
    try:
        yield stop
    except SystemExit:
        if stop.number is None:
            raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if stop.number is not None:
        raise Interrupted(stop.number, message)


class Signalled(BaseException):
    """A signal came. Whoever catches every Exception lets it through."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """SIGINT and SIGTERM raise Signalled in the body, unless ignored, as under nohup; a second one ends at once.

    Raises Interrupted with `message` when one came.
    """

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Signalled(number)

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in former.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except Signalled as stopped:
        raise Interrupted(stopped.number, message) from None
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Waits, in a thread, for this process's parent to end; should it be killed, this one saves and stops."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
