"""Another process of ours, and what it says as it goes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


class CommandFailed(Exception):
    """The process ended with an error. The message is its last line."""


@dataclass(frozen=True)
class Line:
    """A line that it printed, on either stream, and the seconds from its start until then."""

    seconds: float
    text: str


def run(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> list[Line]:
    """What `python -m module arguments` prints; an empty last line tells of its end. Raises CommandFailed.

    Nothing that it started outlives this call, however it ends.
    """
    began = time.perf_counter()
    # A session of its own: Ctrl-C reaches this process alone, which then ends the whole group.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        lines = list(_lines(process, began))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        said = next((line.text for line in reversed(lines) if line.text), "it said nothing")
        raise CommandFailed(f"exit code {process.returncode}: {said}")
    return lines


def _lines(process: subprocess.Popen[str], began: float) -> Iterator[Line]:
    assert process.stdout is not None
    for line in process.stdout:
        yield Line(time.perf_counter() - began, line.strip())
    process.wait()
    yield Line(time.perf_counter() - began, "")
