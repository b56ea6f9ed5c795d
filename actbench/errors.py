"""The errors a user meets. Every room raises these; only the command line turns them into text and exit codes."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

SHOWN_PROBLEMS = 5  # of one file


@dataclass(frozen=True)
class Problem:
    """One thing wrong with something the user gave.

    `where` is the place as the user knows it ("nano.yaml:12", "--set a.b=c", a file name); `key` the dotted
    recipe key, if there is one; `hint` what to type instead.
    """

    message: str
    where: str = ""
    key: str = ""
    hint: str = ""

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.where, self.key) if part)
        text = f"{head}: {self.message}" if head else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ActbenchError(Exception):
    """Base of the errors that reach the user as a message instead of a traceback."""

    exit_code = 1


class BadInput(ActbenchError):
    """What the user gave cannot be used. Holds every problem found, not only the first (exit code 2)."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Iterable[Problem]):
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def bad_file(problems: Sequence[Problem], file: object) -> BadInput:
    """The error of a file in which many lines may be wrong in one way: the first problems, and how many more."""
    more = len(problems) - SHOWN_PROBLEMS
    rest = [Problem(f"and {more} more problems", where=str(file))] if more > 0 else []
    return BadInput([*problems[:SHOWN_PROBLEMS], *rest])


class RunFailed(ActbenchError):
    """A run started and could not finish, for instance because its loss stopped being a number (exit code 1)."""


class Interrupted(ActbenchError):
    """A signal stopped the run after it had saved its state; `signal_number` gives the exit code 128 + n."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


@contextlib.contextmanager
def retold(change: Callable[[Problem], Problem]) -> Iterator[None]:
    """Has what the body finds wrong told as its caller knows it: each problem of a BadInput as `change` makes it."""
    try:
        yield
    except BadInput as error:
        raise type(error)([change(problem) for problem in error.problems]) from None


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint naming what the user may have meant: the closest of `known`, or all of them when none is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(sorted(known))}" if known else ""
