"""Writing a run's folder: claim it, append metrics, and commit it with a manifest."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actbench.errors import BadInput, Problem
from actbench.store.atomic import replacing, sha256, write_json
from actbench.store.run import FORMAT, LEFT_OUT, Run, lock_of, read_rows

JOURNALS = ("tensorboard", "trackio", "wandb", "mlflow")  # other tools' folders, which they may change later
LOOK_S = 1.0  # whoever asks for a run's state holds its lock for a moment
UNRECORDED = ("checkpoints", *JOURNALS, ".lock", "manifest.json", "failure.json", LEFT_OUT)


class RunWriter:
    """The one process that may write a run's folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoint = folder / "checkpoints" / "last.ckpt"
        self.metrics_path = folder / "metrics.jsonl"

    def describe(self, info: dict[str, Any]) -> None:
        """Writes run.json: what the run is, before it starts."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.folder / "run.json", {"format": FORMAT, "id": self.folder.name, "created": now, **info})

    def log(self, row: dict[str, Any]) -> None:
        """Appends one row to metrics.jsonl in a single write."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    def keep_metrics_until(self, step: int) -> None:
        """Drops the rows a resumed run will write again: those past `step`, and a torn last line."""
        if self.metrics_path.exists():
            kept = [json.dumps(row) + "\n" for row in read_rows(self.metrics_path) if row["step"] <= step]
            with replacing(self.metrics_path) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")

    def begin(self) -> None:
        """A new try: what a former one failed of is no longer the run's state."""
        (self.folder / "failure.json").unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Records why the run could not finish."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.folder / "failure.json", {"failed": now, "reason": reason})

    def commit(self, summary: dict[str, Any]) -> Run:
        """Writes the manifest, after which the run is finished and immutable."""
        self.begin()
        self._flush_metrics()
        files = {
            str(path.relative_to(self.folder)): sha256(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.relative_to(self.folder).parts[0] not in UNRECORDED
        }
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = {"format": FORMAT, "id": self.folder.name, "finished": now, "summary": summary, "files": files}
        write_json(self.folder / "manifest.json", manifest)
        return Run(self.folder)

    def _flush_metrics(self) -> None:
        if self.metrics_path.exists():
            with self.metrics_path.open("rb") as file:
                os.fsync(file.fileno())


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[RunWriter]:
    """Makes the folder and holds its lock. Raises BadInput when another process trains into it."""
    from filelock import Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=LOOK_S)
    except Timeout:
        raise BadInput(Problem(f"another process is training {folder}", hint="wait for it, or stop it first")) from None
    try:
        for leftover in folder.rglob(".*.partial"):  # of a process killed in mid-write
            leftover.unlink()
        yield RunWriter(folder)
    finally:
        lock.release()
