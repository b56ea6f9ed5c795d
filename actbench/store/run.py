"""A run's folder, `runs/<name>-<short hash>/`, as everything but training sees it: to be read.

run.json         what the run is: kind, recipe, data, model size, hardware, environment
metrics.jsonl    one row an event, appended
checkpoints/     last.ckpt, the training state to resume from
manifest.json    the commit mark, written last: the summary and the sha256 of every other file
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from actbench.errors import BadInput, Problem, nearest
from actbench.store.atomic import sha256

if TYPE_CHECKING:
    from filelock import FileLock

FORMAT = 1  # of a run's folder; part of every run's identity
FINDINGS = "analysis.json"  # in the folder of a run that is an analysis
LEFT_OUT = "left_out.json"  # in an imported run's folder: what its archive came without

Status = Literal["finished", "running", "failed", "interrupted"]


def identity_hash(identity: dict[str, Any]) -> str:
    """Eight hex digits that stand for everything that decides a run's result."""
    canonical = json.dumps({"format": FORMAT, **identity}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Run:
    """One run's folder, read-only."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def info(self) -> dict[str, Any]:
        """run.json. Raises BadInput when it is missing or damaged."""
        found = _read_json(path := self.folder / "run.json")
        for key in ("kind", "recipe"):
            if key not in found:
                raise BadInput(Problem("damaged: missing", str(path), key))
        return found

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """manifest.json, or None while the run is not finished."""
        path = self.folder / "manifest.json"
        return _read_json(path) if path.exists() else None

    @property
    def kind(self) -> str:
        """ "pretrain" or "finetune"."""
        return str(self.info["kind"])

    @property
    def summary(self) -> dict[str, Any]:
        """The finished run's results. Raises BadInput when it is not finished."""
        if self.manifest is None:
            raise BadInput(Problem(f"run {self.id} is not finished ({self.status})"))
        return dict(self.manifest["summary"])

    @property
    def activation(self) -> str:
        """The registered name of the model's activation."""
        return str(self.info["recipe"]["model"]["activation"]["name"])

    @property
    def imported(self) -> bool:
        """Whether it is a model that came ready: a pre-training run without training, losses and times."""
        return "origin" in self.info

    @property
    def seed(self) -> int:
        """The seed of the pre-training run this is or stems from."""
        return int(self.info["recipe"]["seed"])

    @property
    def status(self) -> Status:
        """finished, running (another process holds it), failed, or interrupted."""
        if (self.folder / "manifest.json").exists():
            return "finished"
        if is_locked(self.folder):
            return "running"
        return "failed" if (self.folder / "failure.json").exists() else "interrupted"

    @property
    def failure(self) -> str:
        """Why the last try failed; empty when it did not."""
        path = self.folder / "failure.json"
        return str(_read_json(path)["reason"]) if path.exists() else ""

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl in order. A torn last line, left by a kill in mid-write, is left out."""
        return list(read_rows(self.folder / "metrics.jsonl"))

    @property
    def left_out(self) -> list[str]:
        """Names of recorded files that an archive came without, by its maker's choice, and that are not here."""
        path = self.folder / LEFT_OUT
        chosen = _read_json(path).get("left_out", []) if path.exists() else []
        recorded = self.manifest["files"] if self.manifest else {}
        return [name for name in recorded if name in chosen and not (self.folder / name).exists()]

    def damaged_files(self) -> list[str]:
        """Names of files whose content is not what the manifest recorded. What an archive came without is none."""
        recorded, left_out = self.manifest["files"] if self.manifest else {}, self.left_out
        return [
            name
            for name, digest in recorded.items()
            if name not in left_out and (not (self.folder / name).is_file() or sha256(self.folder / name) != digest)
        ]


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The complete rows of a JSON-lines file; nothing when it does not exist. Raises BadInput for a damaged one."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.endswith("\n"):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise BadInput(Problem(f"damaged: {error.msg}", f"{path}:{number}")) from None


def subfolders(root: Path) -> list[str]:
    """Names of the folders in which a run may lie, in order. Hidden ones hold what is on its way in or out."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_runs(root: Path) -> list[Run]:
    """All runs under `root`, by name."""
    return [Run(root / name) for name in subfolders(root) if (root / name / "run.json").is_file()]


def find_run(reference: str, root: Path) -> Run:
    """The run that `reference` means: a folder, a run's name, or a beginning that only one run has.

    What was fine-tuned from a run begins with that run's name and does not make it ambiguous.
    Raises BadInput, naming the nearest, when there is none or more than one.
    """
    folder = Path(reference)
    if (folder / "run.json").is_file():
        return Run(folder if folder.name not in ("", "..") else folder.resolve())  # its name is the run's
    if folder.name == reference and (root / reference / "run.json").is_file():
        return Run(root / reference)
    ids = [run.id for run in list_runs(root)]
    matches = [id_ for id_ in ids if id_.startswith(reference)]
    if matches and all(id_.startswith(matches[0]) for id_ in matches):  # sorted: a parent stands before its own
        return Run(root / matches[0])
    if matches:
        raise BadInput(Problem(f"'{reference}' could be any of {len(matches)} runs", hint=", ".join(matches[:6])))
    hint = nearest(reference, ids[:12]) if ids else f"there are no runs in {root}/"
    raise BadInput(Problem(f"no run '{reference}' in {root}/", hint=hint))


def lock_of(folder: Path) -> FileLock:
    """The lock that a process training into `folder` holds."""
    from filelock import FileLock  # here, because it takes a while and most lists need no lock

    return FileLock(folder / ".lock")


def is_locked(folder: Path) -> bool:
    """Whether some process is training into `folder` now."""
    if not (folder / ".lock").exists():
        return False
    from filelock import Timeout

    try:
        with lock_of(folder).acquire(timeout=0):
            return False
    except (Timeout, PermissionError):
        return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(Problem("no such file", where=str(path))) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(Problem(f"damaged: {error}", where=str(path))) from None
    if not isinstance(data, dict):
        raise BadInput(Problem("damaged: not a JSON object", where=str(path)))
    return data
