"""Pre-training as Lightning sees it: a thin shell around a plain model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from actbench.config.schema import Recipe
from actbench.data.batches import Batch, TrainingStream
from actbench.errors import RunFailed
from actbench.nn.bert import Bert
from actbench.nn.build import activation_slots
from actbench.nn.dropout import set_keys
from actbench.nn.gpt import Gpt
from actbench.nn.router import Losses, take_decided, with_router_losses
from actbench.training.optimizer import make_optimizer, set_learning_rates, unfreeze
from actbench.training.strategies import clip, own_part, shard
from actbench.training.world import ALONE, World


def key_step(model: nn.Module, seed: int, step: int) -> None:
    """Keys dropout, and torch's own generator for whatever else may draw, by (seed, step)."""
    set_keys(model, seed, step)
    torch.manual_seed(seed * 1_000_003 + step)


def take_mean(losses: list[Tensor], world: World = ALONE) -> float:
    """The mean of the losses, over all processes, in fp64 on the CPU; the list is empty afterwards."""
    mean = world.gathered(torch.stack(losses).float()).double().flatten().mean().item()
    losses.clear()
    return mean


class PretrainModule(pl.LightningModule):
    """Mean negative log-likelihood of the scored tokens; every random number keyed by (seed, step).

    In a world of several processes each sees its rows of a batch; all score the same number of tokens. `stream`, which
    gives the batches, is needed by a mixture of experts whose steps are cut up: it looks ahead.
    """

    def __init__(self, model: Bert | Gpt, recipe: Recipe, world: World = ALONE, stream: TrainingStream | None = None):
        super().__init__()
        self.model, self.recipe, self.stream, self.world = model, recipe, stream, world
        self.loads: list[Tensor] | None = None  # of the experts in the whole step, by router; None: as they come
        self.sharded = world.size > 1 and recipe.hardware.strategy == "fsdp"
        self.progress = 0.0  # share of the budget used up before this step; the recorder keeps it current
        self.losses: list[Tensor] = []  # of the micro-batches since the recorder last looked
        self.router_losses: list[Tensor] = []  # the same, in the order of Losses; empty without experts
        self.grad_norm = torch.zeros(())

    def configure_model(self) -> None:
        """Splits the model over the processes, where it is to be split; Lightning has made the mesh by now."""
        if self.sharded:
            shard(self.model, self.device_mesh["data_parallel"])

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The micro-batch's mean: all score the same number of tokens, so accumulation weighs them right.

        What is minimised has the routers' losses in it; what is logged as the loss has not.
        """
        if self.recipe.looks_ahead and batch_index % self.recipe.batch.accumulate == 0:
            self.loads = self._loads_from(batch_index)
        loss = self.model(**batch)
        self.losses.append(loss.detach())
        total, of_routers = with_router_losses(loss, self.model, self.world.average, self.loads)
        if of_routers is not None:
            self.router_losses.append(torch.stack(of_routers))
        return total

    def on_train_start(self) -> None:
        """Has the losses that a checkpoint held where new ones will be."""
        self.losses = [loss.to(self.device) for loss in self.losses]
        self.router_losses = [losses.to(self.device) for losses in self.router_losses]

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Keys the random numbers by the micro-batch's number, and sets what learns at which rate."""
        key_step(self.model, self.recipe.seed, batch_index)
        unfreeze(self.optimizer, self.trainer.global_step)
        set_learning_rates(self.optimizer, self.recipe.schedule, self.progress)

    def on_after_backward(self) -> None:
        """Averages what a split model keeps whole. To average a second time what a micro-batch left changes nothing."""
        if self.sharded:
            slots = activation_slots(self.model).values()  # in the same order in all processes
            self.world.average([p.grad for own in slots for p in own.parameters() if p.grad is not None])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clips the gradient by its norm over all parameters."""
        limit = self.recipe.optimizer.clip_norm or float("inf")
        if self.sharded:
            self.grad_norm = clip(list(self.parameters()), limit)
        else:
            self.grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit)

    def optimizer_step(
        self, epoch: int, batch_index: int, optimizer: Any, closure: Callable[[], Any] | None = None
    ) -> None:
        """Lets go of the gradients once they are used; Lightning would hold them through the next forward pass."""
        super().optimizer_step(epoch, batch_index, optimizer, closure)
        self.optimizer_zero_grad(epoch, batch_index, optimizer)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the rates follow the budget, set before each step."""
        self.optimizer = make_optimizer(self.model, self.recipe.optimizer)
        return self.optimizer

    def mean_loss(self) -> float:
        """The mean training loss since the last call. Raises RunFailed when it is not a number."""
        loss = take_mean(self.losses, self.world)
        if not math.isfinite(loss) or not torch.isfinite(self.grad_norm):
            raise RunFailed(f"the loss or its gradient is no longer finite at step {self.trainer.global_step}")
        return loss

    def mean_router_losses(self) -> dict[str, float]:
        """The mean of each since the last call; empty without experts."""
        if not self.router_losses:
            return {}
        sums = self.world.total(*torch.stack(self.router_losses).cpu().double().mean(0).tolist())
        self.router_losses.clear()
        return {name: value / self.world.size for name, value in zip(Losses._fields, sums, strict=True)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the losses not logged yet. Raises RunFailed rather than save weights that are not finite."""
        finite = all(torch.isfinite(own_part(parameter)).all() for parameter in self.parameters())
        if any(self.world.most(not finite)):
            raise RunFailed(f"the weights are no longer finite at step {self.trainer.global_step}")
        checkpoint["unlogged_losses"] = self._everyones(self.losses)
        checkpoint["unlogged_router_losses"] = self._everyones(self.router_losses)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the losses not logged yet up again."""
        self.losses = self._own(checkpoint["unlogged_losses"])
        self.router_losses = self._own(checkpoint.get("unlogged_router_losses", []))  # none in older checkpoints

    def _loads_from(self, first: int) -> list[Tensor]:
        """How the routers will load the experts in the step that begins with that micro-batch, over all processes.

        The balance is a product of means, so its gradient needs the whole step's load before the first part's backward
        pass: all parts are passed through once more. Gradients are on, or compiled blocks would be compiled twice.
        """
        assert self.stream is not None, "a mixture of experts whose steps are cut up needs its stream"
        each = []
        for number in range(first, first + self.recipe.batch.accumulate):
            key_step(self.model, self.recipe.seed, number)
            self.model(**{name: x.to(self.device) for name, x in self.stream.batch(number).items()})
            each.append([decided.load for _, decided in take_decided(self.model)])
        key_step(self.model, self.recipe.seed, first)
        loads = [torch.stack(own).mean(0) for own in zip(*each, strict=True)]
        self.world.average(loads)
        return loads

    def _everyones(self, losses: list[Tensor]) -> list[Tensor]:
        """Each with one axis more, over the processes, where there are several."""
        return [self.world.gathered(loss) for loss in losses] if self.world.size > 1 else losses

    def _own(self, losses: list[Tensor]) -> list[Tensor]:
        return [loss[self.world.rank] if self.world.size > 1 else loss for loss in losses]
