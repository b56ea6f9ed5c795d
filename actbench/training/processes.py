"""Starts a run's processes on this machine, one a device, and watches over them: all finish, or none goes on alone.

They are forked from a server that has imported all they need. The process that starts them trains nothing: it passes
signals on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from actbench.config import Recipe
from actbench.errors import ActbenchError, BadInput, Interrupted, Problem, RunFailed
from actbench.training.allocator import keep_freed_memory
from actbench.training.hardware import use_threads
from actbench.training.plan import Plan, plan
from actbench.training.signals import end_with_parent, stoppable

LOOK_S = 0.2
GRACE_S = 30.0  # for the others, once one has ended: to end as well
PRELOADED = ["actbench.training.pretrain"]


def train_apart(planned: Plan, resume: bool) -> None:
    """Trains the planned run in processes of its own.

    Raises what the first of them to fail did, or RunFailed where one was killed; Interrupted after a signal.
    """
    hardware = planned.hardware
    if hardware.nodes > 1:
        raise BadInput(
            Problem(
                f"{hardware.nodes} nodes: each must be told to start its processes",
                key="hardware.nodes",
                hint="start actbench by torchrun or srun, see docs/scaling-out.md",
            )
        )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    port, n_threads = _free_port(), max(1, hardware.threads // hardware.devices)
    ranks, reports, passed_on = [], [], []
    for rank in range(hardware.devices):
        place = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        report, sender = context.Pipe(duplex=False)
        streams = [Connection(os.dup(number), readable=False) for number in (1, 2)]
        arguments = (sender, streams, {**os.environ, **place}, n_threads, planned.recipe, planned.folder.parent, resume)
        ranks.append(context.Process(target=_rank, args=arguments, name=f"process {rank} of {hardware.devices}"))
        reports.append(report)
        passed_on.append((sender, *streams))
    try:
        with stoppable("stopped; --resume goes on") as stop:
            _start_server()
            for process, connections in zip(ranks, passed_on, strict=True):
                process.start()
                for connection in connections:
                    connection.close()
            ended = _watch(ranks, lambda: stop.number is not None)
            if ended and stop.number is None:
                raise _error(ended, dict(zip(ranks, reports, strict=True)))
    finally:
        for process in ranks:
            if process.is_alive():
                process.kill()
                process.join()


def _start_server() -> None:
    """Deaf to SIGTERM, which a cluster sends to all that a job has started: through it we learn how processes end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _watch(ranks: Sequence[BaseProcess], stopped: Callable[[], bool]) -> list[BaseProcess]:
    """Waits for all to end. Those that did not end well, in their order, but not those that were made to end."""
    ended: list[BaseProcess] = []
    told, deadline = False, float("inf")
    while alive := [process for process in ranks if process.exitcode is None]:
        wait([process.sentinel for process in alive], timeout=LOOK_S)
        ended += [process for process in alive if process.exitcode and not (told and process.exitcode < 0)]
        if (ended or stopped()) and not told:
            told = True
            for process in alive:
                process.terminate()
        if ended:
            deadline = min(deadline, time.monotonic() + GRACE_S)
        if time.monotonic() > deadline:
            for process in alive:
                process.kill()
    return ended


def _error(ended: list[BaseProcess], reports: Mapping[BaseProcess, Connection]) -> ActbenchError:
    """Why the run failed: what a process told, else which one was killed, else the first surprise."""
    said = [told for process in ended if (told := _told(reports[process]))]
    for code, text in (one for one in said if one[0]):
        if code == BadInput.exit_code:
            return BadInput(text)
        return Interrupted(code - 128, text) if code > 128 else RunFailed(text)
    for process in ended:
        if (process.exitcode or 0) < 0:
            name = signal.Signals(-(process.exitcode or 0)).name
            return RunFailed(f"{process.name} was ended by {name}; --resume goes on from the last checkpoint")
    return RunFailed(next((text for _, text in said), f"{ended[0].name} ended without a word"))


def _told(report: Connection) -> tuple[int, str] | None:
    """What a process said, which has ended; None when it said nothing."""
    try:
        said: tuple[int, str] | None = report.recv() if report.poll() else None
    except EOFError:
        return None
    return said


def _rank(
    sender: Connection,
    streams: list[Connection],
    environment: dict[str, str],
    n_threads: int,
    recipe: Recipe,
    runs: Path,
    resume: bool,
) -> None:
    """One process of the run, from its beginning to its end."""
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; it is passed on as SIGTERM
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    use_threads(n_threads)
    from actbench.training.pretrain import pretrain

    try:
        pretrain(plan(recipe, runs, _silent), resume=resume, say=_tell)
    except ActbenchError as error:
        sender.send((error.exit_code, str(error)))
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        traceback.print_exc()
        sender.send((0, f"{multiprocessing.current_process().name}: {type(error).__name__}: {error}"))
        raise SystemExit(1) from None


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _silent(message: str) -> None:
    pass


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
