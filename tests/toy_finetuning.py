"""A toy task, and plans of fine-tuning a tiny BERT on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actbench.config import FinetuneSettings, load_recipe
from actbench.data.tasks import Example, Task, TaskData
from actbench.store import Run
from actbench.training import plan, pretrain
from actbench.training.finetune_plan import FinetunePlan, plan_finetuning

SETTINGS: dict[str, Any] = {"train_size": 20, "batch_size": 8, "epochs": 4, "lr": 2e-3, "precision": "fp32"}
CLASSES = Task("toy", "classification", ("no", "yes"), ("accuracy",))
SCORES = Task("toy", "regression", (), ("pearson",))


def quiet(message: str) -> None:
    pass


def pretrained(tiny_recipe: Any, folder: Path) -> Run:
    """A tiny pre-trained BERT with learnable activations."""
    recipe = load_recipe(tiny_recipe(model={"activation": {"name": "raf"}}, budget={"steps": 4}))
    return pretrain.pretrain(plan.plan(recipe, folder / "runs", quiet), resume=False, say=quiet)


def data(task: Task) -> TaskData:
    """Which word comes first decides, in texts of 2 to 20 words."""
    random = np.random.default_rng(0)
    words = ["river", "stone", "house", "wind", "child", "sees", "holds", "finds"]
    examples = [
        Example(f"{('a', 'the')[i % 2]} {' '.join(random.choice(words, random.integers(1, 20)))}", None, i % 2)
        for i in range(80)
    ]
    splits = {name: {"examples_sha256": name} for name in ("train", "dev")}
    return TaskData(task, examples[:60], {"dev": examples[60:]}, {"splits": splits})


def plans(parent: Run, folder: str, seeds: int = 3, task: Task = CLASSES, **changes: Any) -> list[FinetunePlan]:
    settings = FinetuneSettings(**{**SETTINGS, **changes})
    return plan_finetuning(parent, [data(task)], range(seeds), settings, Path(folder))


def close(expected: Any) -> Any:
    """Products of other shapes may round differently, and steps add that up."""
    return pytest.approx(expected, rel=1e-3)
