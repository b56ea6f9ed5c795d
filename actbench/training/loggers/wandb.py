"""Weights & Biases, offline: `wandb sync runs/RUN/wandb/offline-*` uploads it. WANDB_MODE=online logs live."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import wandb

from actbench.config.schema import Recipe


class Journal:
    """A run of the project that is called as the recipe, known by the hash of what decides its result."""

    def __init__(self, folder: Path, recipe: Recipe, run: str):
        mode: Literal["online", "offline"] = "online" if os.environ.get("WANDB_MODE") == "online" else "offline"
        self.run = wandb.init(
            dir=str(folder.parent),  # it adds wandb/ itself
            project=recipe.name,
            id=run.rpartition("-")[2],
            name=run,
            config=recipe.model_dump(mode="json"),
            mode=mode,
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self.run.finish()
