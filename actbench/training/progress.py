"""What a person sees while a run trains: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Display(Protocol):
    """Shows how a run is getting on."""

    def start(self, title: str, done: float) -> None:
        """A run named `title` begins with a share `done` of its budget already used."""

    def show(self, row: dict[str, Any], done: float) -> None:
        """A metrics row was written at a share `done` of the budget."""

    def stop(self) -> None:
        """The run ended, however it ended."""


def display() -> Display:
    """A live bar when stderr is a terminal, plain lines otherwise."""
    return LiveDisplay() if sys.stderr.isatty() else LineDisplay()


class LiveDisplay:
    """A bar with losses, speed and time left, on stderr; it fits into 80 columns."""

    def __init__(self) -> None:
        columns = (
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%  step {task.fields[step]}  loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._validation = ""

    def start(self, title: str, done: float) -> None:
        """See Display."""
        self._task = self._progress.add_task("", total=1.0, step=0, loss="-", speed="")
        self._progress.update(self._task, completed=done)
        self._progress.start()
        self._progress.console.print(title, highlight=False)

    def show(self, row: dict[str, Any], done: float) -> None:
        """See Display."""
        if row["kind"] == "validation":
            self._validation = f" (validation {row['loss']:.3f})"
        if row["kind"] != "train":
            return
        text = f"{row['loss']:.3f}{self._validation}"
        speed = f"{row['tokens_per_second']:,.0f} tokens/s"
        self._progress.update(self._task, completed=done, step=row["step"], loss=text, speed=speed)

    def stop(self) -> None:
        """See Display."""
        self._progress.stop()


class NoDisplay:
    """For processes that are not the one to talk."""

    def start(self, title: str, done: float) -> None:
        """See Display."""

    def show(self, row: dict[str, Any], done: float) -> None:
        """See Display."""

    def stop(self) -> None:
        """See Display."""


class LineDisplay:
    """One line for about every tenth of the budget, and one a validation, on stderr."""

    def __init__(self) -> None:
        self._next = 0.0

    def start(self, title: str, done: float) -> None:
        """See Display."""
        self._next = done
        self._line(title if not done else f"{title}: going on from {done:.0%}")

    def show(self, row: dict[str, Any], done: float) -> None:
        """See Display."""
        if row["kind"] == "validation":
            self._line(
                f"  step {row['step']:>6}  validation loss {row['loss']:.4f}  perplexity {row['perplexity']:.2f}"
            )
        elif row["kind"] == "validation_set":
            self._line(f"  step {row['step']:>6}  {row['set']} loss {_four(row['loss'])}")
        elif done >= self._next:
            self._next = done + 0.1
            left = row["seconds"] / done * (1 - done) if done > 0 else 0.0
            self._line(
                f"  step {row['step']:>6}  loss {row['loss']:.4f}  {row['tokens_per_second']:,.0f} tokens/s"
                f"  about {left:.0f} s left"
            )

    def stop(self) -> None:
        """See Display."""

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _four(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.4f}"
