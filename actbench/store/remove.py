"""Removing runs so that a kill at any moment leaves each run whole or gone.

A run first gets a hidden name beside its own, in one step, and is deleted under that. What a kill leaves under
such a name is deleted the next time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from actbench.errors import BadInput, Problem
from actbench.store.index import INDEX, Record
from actbench.store.run import Run, is_locked, lock_of

REMOVED = ".removed-"  # a run on its way out
ARRIVING = ".arriving-"  # runs on their way in, from an archive
ABANDONED_S = 3600.0  # no index takes as long to write


def with_children(chosen: Iterable[Run], root: Path, found: Iterable[Record], damaged: Iterable[str]) -> list[Run]:
    """The runs, and every run that was made from one of them, and so on, be it `damaged`."""
    ids, found, damaged = {run.id: run for run in chosen}, list(found), list(damaged)
    while new := {child for child, _ in _children(ids, found, damaged)} - ids.keys():
        ids.update({child: Run(root / child) for child in sorted(new)})
    return list(ids.values())


def check_removable(chosen: Sequence[Run], root: Path, found: Iterable[Record], damaged: Iterable[str]) -> None:
    """Raises BadInput for every run that is not in `root`, is being trained, or is the parent of one that stays."""
    ids = {run.id for run in chosen}
    problems = [problem for run in chosen if (problem := _why_not(run, root))]
    for child, parent in _children(ids, found, damaged):
        if child not in ids:
            problems.append(Problem(f"{child} was made from {parent}", hint="--with-children removes both"))
    if problems:
        raise BadInput(problems)


def _children(ids: Collection[str], found: Iterable[Record], damaged: Iterable[str]) -> list[tuple[str, str]]:
    """The runs made from those of `ids`, with which one; what is damaged tells it by its name alone."""
    known = [(record.id, str(record.facts["parent"])) for record in found if record.facts["parent"] in ids]
    return known + [(name, parent) for name in damaged for parent in ids if name.startswith(f"{parent}-")]


def remove(run: Run) -> None:
    """Removes a run's folder; of a link to a folder, the link. Raises BadInput when a process has begun to train it."""
    from filelock import Timeout

    hidden = run.folder.with_name(f"{REMOVED}{run.id}-{secrets.token_hex(4)}")
    if run.folder.is_symlink():
        run.folder.unlink()
        return
    try:
        with lock_of(run.folder).acquire(timeout=0):  # no one can begin to train it now
            run.folder.rename(hidden)
    except Timeout:
        raise BadInput(_running(run)) from None
    _delete(hidden)


def clean(root: Path) -> None:
    """Deletes what killed processes have left under hidden names in `root`."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(root)):
            path = Path(entry.path)
            if entry.name.startswith((REMOVED, ARRIVING)) and not is_locked(path):
                _delete(path)
            elif entry.name.startswith(f".{INDEX}.") and time.time() - entry.stat().st_mtime > ABANDONED_S:
                path.unlink(missing_ok=True)


def size_bytes(run: Run) -> int:
    """What the run's folder takes, links not followed."""
    if run.folder.is_symlink():
        return 0
    return sum(path.lstat().st_size for path in run.folder.rglob("*") if path.is_symlink() or path.is_file())


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # links in it, not what they lead to; another process may clean too
    if folder.exists():
        shutil.rmtree(folder)  # tells why it cannot


def _why_not(run: Run, root: Path) -> Problem | None:
    if run.folder.parent.resolve() != root.resolve():
        return Problem(f"{run.folder} is not in {root}/", hint=f"--runs {run.folder.parent}")
    return _running(run) if not run.folder.is_symlink() and run.status == "running" else None


def _running(run: Run) -> Problem:
    return Problem(f"{run.id} is being trained", hint="stop it first")
