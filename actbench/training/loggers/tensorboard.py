"""TensorBoard: `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from actbench.config.schema import Recipe


class Journal:
    """An event file."""

    def __init__(self, folder: Path, recipe: Recipe, run: str):
        self.writer = SummaryWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)

    def close(self) -> None:
        """Flushes the file."""
        self.writer.close()
