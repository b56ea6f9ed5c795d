"""No gradient outlives its step: it would add to the next forward pass. Micro-batches add up to one large batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from model_sections import LENGTH, VOCABULARY

from actbench.bench.training_step import random_batch
from actbench.config import Recipe, load_recipe
from actbench.data.batches import Batch
from actbench.nn.build import build
from actbench.training.hardware import Hardware
from actbench.training.module import PretrainModule
from actbench.training.plan import plan
from actbench.training.pretrain import pretrain
from actbench.training.trainer import quiet_trainer

STEPS, ACCUMULATE = 3, 2


class Watched(PretrainModule):
    """Notes, as each forward pass begins, whether there are gradients."""

    def __init__(self, recipe: Recipe):
        super().__init__(build(recipe.model, VOCABULARY, LENGTH, recipe.seed), recipe)
        self.held: list[bool] = []

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        self.held.append(any(parameter.grad is not None for parameter in self.parameters()))
        return super().training_step(batch, batch_index)


class AsLightningDoes(Watched):
    optimizer_step = pl.LightningModule.optimizer_step


def test_gradients_end_with_their_step_and_the_losses_are_the_same(tiny_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(tiny_recipe("gpt", batch={"sequences": 8, "accumulate": ACCUMULATE}))
    batch: Any = random_batch(recipe.model, 4, LENGTH, VOCABULARY)
    hardware = Hardware("cpu", "fp32", compiled=False, threads=1)
    modules = [Watched(recipe), AsLightningDoes(recipe)]
    for module in modules:
        trainer = quiet_trainer(hardware, max_steps=STEPS, max_epochs=-1, accumulate_grad_batches=ACCUMULATE)
        trainer.fit(module, repeat(batch))
    ours, lightnings = modules
    assert ours.held == STEPS * [False, True]
    assert lightnings.held == [False, True, *(2 * STEPS - 2) * [True]]
    assert torch.equal(torch.stack(ours.losses), torch.stack(lightnings.losses))


EXPERTS = {"experts": 4, "top_k": 2, "d_expert": 24, "load_balance": 0.5}


@pytest.mark.parametrize("family", ["bert", "gpt", "experts"])
def test_micro_batches_add_up_to_one_large_batch(tiny_recipe: Callable[..., Path], tmp_path: Path, family: str) -> None:
    """BERT's masks are each sequence's own, however a batch is cut. Dropout is off: it is keyed by micro-batches.

    Experts too, unless the recipe has each micro-batch balanced by itself.
    """

    def rows(accumulate: int, **balanced: str) -> list[float]:
        experts = {"d_ff": None, "moe": {**EXPERTS, **balanced}} if family == "experts" else {}
        recipe = load_recipe(
            tiny_recipe(
                "bert" if family == "bert" else "gpt",
                model={"dropout": 0.0, "activation": {"name": "raf"}, **experts},
                batch={"sequences": 8, "accumulate": accumulate},
                hardware={"precision": "fp32"},
            )
        )
        run = pretrain(
            plan(recipe, tmp_path / f"{accumulate}{balanced}", lambda _: None), resume=False, say=lambda _: None
        )
        own = ("loss", "load_balance", "router_z", "grad_norm") if experts else ("loss",)
        return [row[key] for row in run.metrics() if row["kind"] == "train" for key in own]

    large = rows(1)
    assert len(large) == (12 if family != "experts" else 4 * 12)
    assert rows(4) == pytest.approx(large, rel=1e-6)
    if family == "experts":
        assert rows(4, load_balance_over="micro_batch") != pytest.approx(large, rel=1e-4)
