"""The cache folder: entries that are built once, under a lock, and appear whole or not at all.

An entry is a folder named by a hash of everything that decides its content. It is built beside its place and
renamed; its `meta.json`, written last, names every file with its size and sha256. A folder without one, or
whose files have other sizes, is rebuilt. What a build keeps in `work_folder`, to go on from if it is stopped, stays
until the entry is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from actbench.errors import BadInput, Problem, RunFailed

FORMAT = 1
META = "meta.json"
WHAT = "what"  # the file of a work folder that says how messages call the entry
Say = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A whole entry: its folder, its facts (JSON data), and the size and sha256 of each file.

    what: how messages call it. built: it was made just now, not found.
    """

    folder: Path
    facts: dict[str, Any]
    files: dict[str, dict[str, Any]]
    what: str = ""
    built: bool = False


def root() -> Path:
    """`$ACTBENCH_CACHE`, or `actbench` in `$XDG_CACHE_HOME`, or `~/.cache/actbench`."""
    if own := os.environ.get("ACTBENCH_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "actbench"


def fetch(kind: str, key: str, build: Callable[[Path], dict[str, Any]], say: Say, what: str) -> Entry:
    """The entry `kind`/`key`, built by `build(folder) -> facts` where the cache has none.

    `what` is how messages call it. Raises RunFailed when the cache cannot be written; errors of `build` pass
    through, and either way no half-written entry stays.
    """
    place = root() / kind / key
    entry, reason = _open(place)
    if entry is None:
        try:
            entry = _build_locked(place, build, say, what, reason)
        except OSError as error:
            hint = "free some space or set ACTBENCH_CACHE to another folder"
            raise RunFailed(f"{place.parent}: cannot write the cache: {error.strerror or error} ({hint})") from error
    else:
        say(f"{what}: found in the cache ({place})")
    return entry


def _build_locked(place: Path, build: Callable[[Path], dict[str, Any]], say: Say, what: str, reason: str) -> Entry:
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{what}: waiting for another process that is packing it")
        lock.acquire()
    try:
        entry, _ = _open(place)  # the process that held the lock may have built it
        if entry is not None:
            say(f"{what}: found in the cache ({place})")
            return entry
        say(f"{what}: packing ({reason})")
        return _build(place, build, what)
    finally:
        lock.release()


def _build(place: Path, build: Callable[[Path], dict[str, Any]], what: str) -> Entry:
    """Builds beside `place` and renames. The lock is held, so what lies there is a dead process's."""
    folder = place.with_suffix(".building")
    shutil.rmtree(folder, ignore_errors=True)
    work = work_folder(folder)
    write_note(work / WHAT, what)
    try:
        folder.mkdir()
        facts = build(folder)
        files = {}
        for path in sorted(folder.iterdir()):
            _sync(path)
            files[path.name] = _describe(path)
        meta = json.dumps({"format": FORMAT, "what": what, "files": files, "facts": facts}, indent=1)
        (folder / META).write_text(meta + "\n", encoding="utf-8")
        _sync(folder / META)
        _sync(folder)
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        folder.rename(place)
        _sync(place.parent)
        shutil.rmtree(work, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if [*work.glob("*")] == [work / WHAT]:  # nothing of it is finished
            shutil.rmtree(work, ignore_errors=True)
    return Entry(place, facts, files, what, built=True)


def what_was_begun(place: Path) -> str | None:
    """How messages call the unfinished entry at a place of `places`; None where that is not told."""
    try:
        return (work_folder(place) / WHAT).read_text(encoding="utf-8")
    except OSError:
        return None


def work_folder(folder: Path) -> Path:
    """Where the build of an entry in `folder` may keep what is finished of it; the build makes it."""
    return folder.with_suffix(".work")


def verify(entry: Entry) -> list[str]:
    """What is wrong with the entry's files when they are read completely; empty when nothing is."""
    wrong = []
    for name, described in entry.files.items():
        path = entry.folder / name
        if not path.is_file():
            wrong.append(f"{path}: missing")
        elif _describe(path) != described:
            wrong.append(f"{path}: not the bytes that were written")
    return wrong


def open_entry(kind: str, key: str) -> Entry | None:
    """The entry `kind`/`key` if the cache has it whole."""
    return _open(root() / kind / key)[0]


def places() -> list[Path]:
    """Where entries are, whole or not, sorted: folders of a kind that `open_entry` may find."""
    found = [path for path in root().glob("*/*") if path.is_dir()]
    return sorted({path.with_suffix("") for path in found})


def size_bytes(place: Path) -> int:
    """What is stored of an entry, with what is kept to go on from."""
    return sum(file.stat().st_size for part in _parts(place) for file in part.rglob("*") if file.is_file())


def remove(place: Path) -> int:
    """Removes an entry, whole or not, and returns its size in bytes. Raises BadInput while it is being built."""
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(Problem("is being packed by another process", str(place))) from None
    try:
        size = size_bytes(place)
        for part in _parts(place):
            shutil.rmtree(part)
    finally:
        lock.release()
    return size


def _parts(place: Path) -> list[Path]:
    return [part for part in (place, place.with_suffix(".building"), work_folder(place)) if part.is_dir()]


def write_note(path: Path, text: str) -> None:
    """Writes a small file whole or not at all; as it saves work only, failing to is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def _open(place: Path) -> tuple[Entry | None, str]:
    """The entry at `place`, or None and why there is none. Compares sizes, not contents."""
    if not place.exists():
        return None, "not in the cache yet"
    try:
        meta = json.loads((place / META).read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            return None, "the cache entry has another format"
        entry = Entry(place, meta["facts"], meta["files"], meta.get("what", ""))
        whole = all((place / name).stat().st_size == file["bytes"] for name, file in entry.files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, "the cache entry is damaged"
    return (entry, "") if whole else (None, "the cache entry is damaged")


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    """Makes a file's content, or the names in a folder, durable, where the system can open a folder."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
