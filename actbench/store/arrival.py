"""Runs from an archive made elsewhere: nothing is visible in the runs' folder before all of it has been verified.

An archive is a stranger's file. Its members may be plain files under plain relative names alone, each once, each with
the hash that SHA256SUMS tells; a run's files must be those that its manifest records.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from actbench.errors import BadInput, Problem
from actbench.store.archive import SUMS, is_plain
from actbench.store.atomic import flush, sha256
from actbench.store.index import record
from actbench.store.remove import ARRIVING, clean
from actbench.store.run import FORMAT, Run, lock_of

LONGEST_SUMS = 64 * 2**20  # bytes, for some 400,000 files
CHUNK = 2**20


@dataclass(frozen=True)
class Imported:
    """The runs of an archive: those that are new here, and those that were here already, with what these lack.

    Of the new ones: recorded files that they came without, and those that bring Python code.
    """

    new: tuple[str, ...]
    here: dict[str, list[str]]
    left_out: dict[str, list[str]]
    with_code: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        code = list(self.with_code)
        return {"imported": list(self.new), "already_here": self.here, "left_out": self.left_out, "with_code": code}


def import_archive(archive: Path, root: Path) -> Imported:
    """Takes an archive's runs into `root`. Raises BadInput, with `root` as it was, for all that is not in order."""
    if not archive.is_file():
        raise BadInput(Problem("no such file", where=str(archive)))
    existed = root.exists()
    root.mkdir(parents=True, exist_ok=True)
    clean(root)
    try:
        with _arriving(root) as folder:
            sums = _unpack(archive, folder)
            names = sorted({name.partition("/")[0] for name in sums})
            for name in names:
                _check_run(folder / name, sums, archive)
            here = {name for name in names if _is_here(root / name, folder / name, archive)}
            found = {name: Run(folder / name).left_out for name in names}
            for name in names:
                if name not in here:
                    (folder / name).rename(root / name)
            flush(root)
    except BaseException:
        if not existed:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise
    missing = {name: _missing(Run(root / name)) for name in sorted(here)}
    new = tuple(name for name in names if name not in here)
    code = tuple(name for name in new if any((root / name).rglob("*.py")))
    return Imported(new, missing, {name: found[name] for name in new if found[name]}, code)


@contextlib.contextmanager
def _arriving(root: Path) -> Iterator[Path]:
    """A hidden folder that others know to be in use, and that is gone at the end."""
    folder = root / f"{ARRIVING}{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        with lock_of(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> dict[str, str]:
    """Writes the archive's files into `folder` and returns their hashes by name, each verified."""
    sums: dict[str, str] = {}
    seen: set[str] = set()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not seen:
                    sums = _sums(tar, member, archive)
                    seen.add(SUMS)
                    continue
                _check_member(member, seen, sums, archive)
                seen.add(member.name)
                _copy(tar, member, folder / member.name, sums[member.name], archive)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        hint = "it may have been cut short"
        raise BadInput(Problem(f"cannot be read as an archive of runs: {error}", str(archive), hint=hint)) from None
    except OSError as error:
        if error.filename is None:  # the disk is full
            error.filename = str(folder.parent)
        raise
    missing = sorted(sums.keys() - seen)
    if missing:
        raise _bad(archive, f"{missing[0]} is missing", "it may have been cut short")
    return sums


def _sums(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> dict[str, str]:
    """Reads SHA256SUMS, which an archive of runs begins with."""
    content = tar.extractfile(member) if member.isreg() and member.name == SUMS else None
    if content is None or member.size > LONGEST_SUMS:
        raise _bad(archive, f"does not begin with {SUMS}", "is it one that 'actbench runs export' made?")
    sums: dict[str, str] = {}
    for number, line in enumerate(content.read().decode(errors="replace").split("\n")[:-1], start=1):
        found = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if found is None or found[2] in sums or not is_plain(found[2]):
            raise _bad(archive, f"line {number} of {SUMS} does not give a run's file its hash: {line[:120]!r}")
        sums[found[2]] = found[1]
    if not sums:
        raise _bad(archive, "holds no runs")
    return sums


def _check_member(member: tarfile.TarInfo, seen: set[str], sums: dict[str, str], archive: Path) -> None:
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise _bad(archive, f"{member.name!r} is no plain file")
    if member.name in seen:
        raise _bad(archive, f"{member.name!r} is in it twice")
    if member.name not in sums:  # nor is any name that leads elsewhere
        raise _bad(archive, f"{member.name!r} is not in its {SUMS}")


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, digest: str, archive: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            copied = _copy_bytes(source, target)
    except (FileExistsError, NotADirectoryError):
        raise _bad(archive, f"{member.name!r} collides with another name") from None
    flush(path)
    if copied != digest:
        raise _bad(archive, f"{member.name} is damaged: its sha256 is not what {SUMS} tells")


def _copy_bytes(source: IO[bytes], target: IO[bytes]) -> str:
    hashed = hashlib.sha256()
    while chunk := source.read(CHUNK):
        hashed.update(chunk)
        target.write(chunk)
    return hashed.hexdigest()


def _check_run(folder: Path, sums: dict[str, str], archive: Path) -> None:
    """Raises BadInput unless the folder is a finished run whose files are those its manifest records."""
    run = Run(folder)
    try:
        record(run)
        manifest: dict[str, Any] = dict(run.manifest or {})
        formats, recorded, left_out = (manifest["format"], run.info["format"]), dict(manifest["files"]), run.left_out
    except (BadInput, KeyError, TypeError, ValueError, AttributeError):
        raise _bad(archive, f"{run.id} is no finished run's folder") from None
    if formats != (FORMAT, FORMAT):
        raise _bad(archive, f"{run.id} has format {formats[0]}; this actbench reads {FORMAT}")
    arrived = {name: sums.get(f"{run.id}/{name}", "") for name in {*recorded, "run.json"}}
    wrong = [name for name, digest in arrived.items() if recorded.get(name) != digest and name not in left_out]
    if wrong:
        raise _bad(archive, f"{run.id}: not what its manifest records: {', '.join(sorted(wrong))}")
    flush(folder)


def _is_here(existing: Path, arrived: Path, archive: Path) -> bool:
    """Whether the same run is in place already. Raises BadInput when something else is."""
    if not existing.exists() and not existing.is_symlink():
        return False
    manifests = [folder / "manifest.json" for folder in (existing, arrived)]
    if not manifests[0].is_file() or sha256(manifests[0]) != sha256(manifests[1]):
        raise _bad(archive, f"{existing} exists and is not the same run", "nothing was imported")
    return True


def _missing(run: Run) -> list[str]:
    return [name for name in (run.manifest or {"files": {}})["files"] if not (run.folder / name).exists()]


def _bad(archive: Path, message: str, hint: str = "") -> BadInput:
    return BadInput(Problem(message, where=str(archive), hint=hint))
