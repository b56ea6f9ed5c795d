"""What the two sides of a comparison are told to do, and what they report: JSON between processes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from actbench.config.finetuning import FinetuneSettings
from actbench.config.schema import Recipe
from actbench.config.section import Positive, Section


class Order(Section):
    """Every order names a folder that the side may fill; whoever gave the order removes it."""

    folder: Path


class PretrainOrder(Order):
    """Train the recipe's model from its initial weights for its budget, which is a number of steps."""

    recipe: Recipe
    bf16_and_compile: bool = False  # of Hugging Face's Trainer; the others take what the machine computes best with


class FinetuneOrder(Order):
    """Fine-tune the pre-trained run in `parent` on one of GLUE's tasks, read from the folder `glue`."""

    parent: Path
    glue: Path
    task: str
    settings: FinetuneSettings
    padding: Literal["max_length", "longest"] = "longest"  # of Hugging Face's Trainer


class PackOrder(Order):
    """Turn a file of JSON lines with the field "text" into packed sequences on disk, so many times."""

    text: Path
    tokenizer: Path
    length: Positive
    times: Positive


class Turn(Section):
    """How long the steps took that a side was told to do, and the most memory its process has held until then."""

    seconds: float
    peak_bytes: int


class Report(Section):
    """What a side found when it had finished. What does not apply is None.

    loss: mean training loss over the last quarter of the steps; of fine-tuning, over the last epoch.
    score: the task's metric on the official development set.
    tokens: tokens in the packed sequences.
    run: the folder of the run that actbench made.
    """

    loss: float | None = None
    score: float | None = None
    tokens: int | None = None
    run: Path | None = None


def last_quarter(losses: list[float]) -> float:
    """The mean of the last quarter of the losses, of the last one where there are fewer than eight."""
    tail = losses[-max(1, len(losses) // 4) :]
    return sum(tail) / len(tail)
