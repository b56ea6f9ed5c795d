"""How packing gets on, on stderr: a live line on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from actbench.cli.common import say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from actbench.data.portions import Progress, Watch

EVERY_S = 10.0  # between plain lines


@contextlib.contextmanager
def shown() -> Iterator[Watch]:
    """Yields what is to be told of every step."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(bar_width=16), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Live(bar)


class _Lines:
    """The first step of each stage, then one line every so many seconds."""

    def __init__(self) -> None:
        self._next = 0.0
        self._stage = ("", "")

    def __call__(self, progress: Progress) -> None:
        now, stage = time.monotonic(), (progress.stage, progress.source)
        if now >= self._next or stage != self._stage:
            self._next, self._stage = now + EVERY_S, stage
            say(f"  {_words(progress)}")


class _Live:
    """One bar, on whatever is being done."""

    def __init__(self, bar: Bar):
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def __call__(self, progress: Progress) -> None:
        done, of = (progress.tokens, progress.of_tokens) if progress.of_tokens else (progress.bytes, progress.of_bytes)
        self._bar.update(self._task, description=_words(progress), total=of, completed=min(done, of or done))


def _words(progress: Progress) -> str:
    of_bytes = f" of {progress.of_bytes / 1e6:,.0f}" if progress.of_bytes else ""
    of_tokens = f" of {progress.of_tokens:,}" if progress.of_tokens else ""
    tokens = f", {progress.tokens:,}{of_tokens} tokens" if progress.tokens else ""
    return f"{progress.stage} {progress.source}: {progress.bytes / 1e6:,.0f}{of_bytes} MB{tokens}"
