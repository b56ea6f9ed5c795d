"""Which evaluation a call means, and whether it has been made; importing this reads no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.config.corpus import FilesCorpus
from actbench.data.packing import open_source
from actbench.errors import BadInput, Problem
from actbench.store import Run, identity_hash

HELD_OUT = "held-out documents"


@dataclass(frozen=True)
class EvaluationPlan:
    """One pre-trained run, and the text to measure it on: files, or None for its own held-out documents.

    `text_hash` stands for all that is measured on.
    """

    parent: Run
    files: tuple[str, ...] | None
    text_hash: str
    folder: Path

    @property
    def run(self) -> Run:
        """The run this plan leads to, finished or not."""
        return Run(self.folder)

    @property
    def data_hash(self) -> str:
        """Of all that led to the result: what the model learned from, and the text."""
        return identity_hash({"parent": self.parent.info["data"]["hash"], "text": self.text_hash})

    @property
    def text(self) -> str:
        """What the text is called."""
        return ", ".join(self.files) if self.files else HELD_OUT


def plan_perplexity(parent: Run, files: list[str] | None, runs: Path) -> EvaluationPlan:
    """The plan to measure a finished run's perplexity. Raises BadInput when the run or a file cannot be used."""
    manifest = check_pretrained(parent, "measured")
    found = text_hash(parent, files)
    identity = {
        "kind": "evaluate",
        "parent": {name: manifest["files"][name] for name in ("model.safetensors", "tokenizer.json")},
        "measure": "perplexity",
        "text": found,
        "held_out": not files,
    }
    folder = runs / f"{parent.id}-perplexity-{identity_hash(identity)}"
    return EvaluationPlan(parent, tuple(files) if files else None, found, folder)


def check_pretrained(parent: Run, what: str) -> dict[str, Any]:
    """The manifest of a run that can be `what`. Raises BadInput unless it is a finished pre-training run."""
    if parent.kind != "pretrain":
        raise BadInput(Problem(f"{parent.id} is not a pre-training run", hint=f"only such a run can be {what}"))
    if parent.manifest is None:
        raise BadInput(Problem(f"run {parent.id} is not finished ({parent.status})", hint="finish it with --resume"))
    return parent.manifest


def text_hash(parent: Run, files: list[str] | None) -> str:
    """What stands for a text: files, or None for the run's own documents. Raises BadInput for files that are not."""
    if files:
        return identity_hash({"text": open_source(FilesCorpus(source="files", files=files), _silent).key})
    if parent.imported:
        message = f"{parent.id} came ready: the text that it was trained on is not known here"
        raise BadInput(Problem(message, hint="name a text with --corpus"))
    return str(parent.info["data"]["hash"])


def _silent(message: str) -> None:
    pass
