"""A run's folder as one file for a reader elsewhere, and back.

An archive is a plain tar. SHA256SUMS comes first and names every other file, so that `sha256sum -c SHA256SUMS` checks
it without actbench; then come the runs' folders. The same runs make the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.errors import BadInput, Problem, RunFailed
from actbench.store.atomic import replacing, sha256
from actbench.store.run import LEFT_OUT, Run
from actbench.store.writer import UNRECORDED

SUMS = "SHA256SUMS"
WEIGHTS = ("model.safetensors",)
STATE = "checkpoints"
NOT_IN_NAMES = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Exported:
    """What went into an archive. `orphans` are fine-tuned runs whose parent did not."""

    runs: tuple[str, ...]
    files: int
    bytes: int
    left_out: tuple[str, ...]
    orphans: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


def export(runs: Iterable[Run], output: Path, *, weights: bool = True, checkpoints: bool = False) -> Exported:
    """Writes finished runs into one archive, whole or not at all, after comparing every file with its manifest.

    Without `weights` they are left out, and the archive says so; their hashes stay in the manifests. Raises BadInput
    for a run that is not finished, RunFailed for one whose files are not what its manifest says.
    """
    if output.suffix != ".tar" or not output.parent.is_dir():
        raise BadInput(
            Problem("no such folder" if output.suffix == ".tar" else "an archive is called .tar", str(output))
        )
    chosen = sorted({run.id: run for run in runs}.values(), key=lambda run: run.id)
    unfinished = [run for run in chosen if run.manifest is None]
    if unfinished:
        raise BadInput(Problem(f"run {run.id} is not finished ({run.status})") for run in unfinished)
    contents = [_contents(run, weights, checkpoints) for run in chosen]
    sums = "".join(f"{part.sha256}  {part.name}\n" for parts, _ in contents for part in parts)
    with replacing(output) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, SUMS, sums.encode())
        for part in (part for parts, _ in contents for part in parts):
            _add(archive, part.name, part.content)
    return Exported(
        tuple(run.id for run in chosen),
        sum(len(parts) for parts, _ in contents),
        output.stat().st_size,
        tuple(f"{run.id}/{name}" for run, (_, names) in zip(chosen, contents, strict=True) for name in names),
        tuple(run.id for run in chosen if run.info.get("parent", run.id) not in {other.id for other in chosen}),
    )


def is_plain(name: str) -> bool:
    """Whether it is `<run>/<file>`, leads to nowhere else, and fits on a line of SHA256SUMS."""
    parts = name.split("/")
    leads_on = any(part in ("", ".", "..") for part in parts)
    return len(parts) > 1 and not leads_on and not name.startswith(".") and not NOT_IN_NAMES.search(name)


@dataclass(frozen=True)
class _Part:
    """A file of an archive: `<run>/<path>`, and where its bytes are."""

    name: str
    content: Path | bytes
    sha256: str


def _contents(run: Run, weights: bool, checkpoints: bool) -> tuple[list[_Part], list[str]]:
    """A run's files as they go into the archive, and the names of recorded files that do not."""
    assert run.manifest is not None
    recorded = run.manifest["files"]
    left_out = sorted({*run.left_out, *(() if weights else (name for name in WEIGHTS if name in recorded))})
    paths = {str(path.relative_to(run.folder)): path for path in sorted(_files(run.folder, checkpoints))}
    paths |= {name: run.folder / name for name in recorded}  # a recorded file may be a link to another disk
    for name in left_out:
        del paths[name]
    parts, damaged = [], []
    for name, path in sorted(paths.items()):
        if not is_plain(f"{run.id}/{name}"):
            raise BadInput(Problem("its name cannot stand in an archive", where=repr(str(path))))
        digest = sha256(path) if path.is_file() else ""
        if digest != recorded.get(name, digest):
            damaged.append(name)
        parts.append(_Part(f"{run.id}/{name}", path, digest))
    if damaged:
        raise RunFailed(f"{run.id}: damaged, not exported: {', '.join(damaged)}")
    if left_out:
        text = (json.dumps({"left_out": left_out}) + "\n").encode()
        parts.append(_Part(f"{run.id}/{LEFT_OUT}", text, _sha256(text)))
    return parts, left_out


def _files(folder: Path, checkpoints: bool) -> Iterator[Path]:
    """All that a reader may want of a run's folder: what is recorded, the manifest, and figures put beside them."""
    kept = {"manifest.json", *([STATE] if checkpoints else [])}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not path.is_symlink() and not hidden and (parts[0] in kept or parts[0] not in UNRECORDED):
            yield path


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    """Adds a file with nothing of this machine or this day about it."""
    member = tarfile.TarInfo(name)
    member.mode = 0o644
    member.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        archive.addfile(member, file)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
