"""What made-up runs lack for tests of learned activations: coefficients logged on the way, and fine-tuned curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np

from actbench.store import Run


def log_coefficients(run: Run, steps: list[int]) -> None:
    """Adds a row of coefficients at each of `steps`, on the straight way from the run's first to its last ones."""
    slots = json.loads((run.folder / "activations.json").read_text(encoding="utf-8"))["slots"]
    with (run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        for step in steps:
            share = step / steps[-1]
            values = {slot["name"]: _between(slot["initial"], slot["final"], share) for slot in slots if slot["final"]}
            file.write(json.dumps({"step": step, "kind": "coefficients", "values": values}) + "\n")


def finetuned(root: Path, parent: Run, task: str, move: float = 0.1, finetune_seed: int = 0, **settings: Any) -> Run:
    """A fine-tuning run that began with the parent's curves and added `move` to every coefficient."""
    run = fake_runs.finetune(root, parent, task, finetune_seed, settings=settings)
    data = json.loads((parent.folder / "activations.json").read_text(encoding="utf-8"))
    for slot in data["slots"]:
        slot["initial"] = slot["final"]
        slot["final"] = {name: (np.asarray(value) + move).tolist() for name, value in slot["initial"].items()}
    (run.folder / "activations.json").write_text(json.dumps(data), encoding="utf-8")
    return run


def _between(first: dict[str, Any], last: dict[str, Any], share: float) -> dict[str, Any]:
    mixed = {name: (1 - share) * np.asarray(first[name]) + share * np.asarray(last[name]) for name in first}
    return {name: value.tolist() for name, value in mixed.items()}
