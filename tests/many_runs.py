"""Thousands of finished runs, made up in seconds: what `runs list` reads of a run and no more."""

from __future__ import annotations

import json
from pathlib import Path

from actbench.config import load_recipe

NANO = Path(__file__).parents[1] / "recipes" / "nano" / "bert.yaml"
ACTIVATIONS = ("gelu", "raf", "poly_norm", "swiglu")
CREATED = "2026-11-25T10:00:00+00:00"
SUMMARY = {
    "steps": 400,
    "tokens": 819200,
    "seconds": 20.1,
    "train_loss": 6.3,
    "validation_perplexity": 500.1,
    "tokens_per_second": 42000.0,
    "parameters": 1363000,
    "peak_memory_bytes": 512000000,
}
FILES = ("run.json", "recipe.yaml", "metrics.jsonl", "model.safetensors", "tokenizer.json", "activations.json")


def many_runs(root: Path, n: int) -> None:
    """Writes `n` runs of a real recipe into `root`, the i-th with seed i // 4 and validation loss 4 + i / n."""
    recipe = load_recipe(NANO).model_dump(mode="json")
    environment = {"python": "3.11.2", "libraries": {"torch": "2.13.0"}}
    root.mkdir(parents=True)
    for i in range(n):
        activation, seed = ACTIVATIONS[i % 4], i // 4
        recipe["seed"], recipe["model"]["activation"] = seed, {"name": activation}
        recipe["optimizer"]["lr"] = (1 + i % 3) / 1000
        folder = root / f"bert-nano-{activation}-s{seed}-{i:08x}"
        folder.mkdir()
        shared = {"format": 1, "id": folder.name}
        info = {**shared, "created": CREATED, "kind": "pretrain", "recipe": recipe, "environment": environment}
        summary = {**SUMMARY, "validation_loss": 4 + i / n}
        manifest = {**shared, "finished": CREATED, "summary": summary, "files": dict.fromkeys(FILES, "a" * 64)}
        (folder / "run.json").write_text(json.dumps(info, indent=1))
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
        (folder / ".lock").touch()
