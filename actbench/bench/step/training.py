"""Training as `actbench pretrain` does it, by its own module and Trainer, with a clock and without a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from actbench.bench.step.clock import Clock
from actbench.data.batches import Batch, TrainingStream
from actbench.errors import Interrupted
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.gpt import Gpt
from actbench.training.hardware import compile_blocks
from actbench.training.module import PretrainModule
from actbench.training.optimizer import unfreeze
from actbench.training.plan import Plan
from actbench.training.recorder import share_done
from actbench.training.signals import Stop
from actbench.training.trainer import quiet_trainer

AfterStep = Callable[["TimedModule", int], None]
STOPPED = "stopped: nothing was measured"


class TimedModule(PretrainModule):
    """Pre-training's module; it tells the clock when a part of a step begins and ends.

    `after_step` is called after each step with the number of steps done; its time counts nowhere.
    """

    def __init__(self, model: Bert | Gpt, planned: Plan, clock: Clock, stop: Stop, after_step: AfterStep):
        super().__init__(model, planned.recipe, stream=planned.stream)
        self.clock, self.stop, self.after_step = clock, stop, after_step

    def on_train_start(self) -> None:
        """Listens to signals again, which Lightning has taken over."""
        super().on_train_start()
        self.stop.listen()
        self.clock.start()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Coefficients that start frozen are measured as they learn: so they do in most of a run's steps."""
        optimizer = super().configure_optimizers()
        unfreeze(optimizer, step=max(group["unfreeze_after"] or 0 for group in optimizer.param_groups))
        for group in optimizer.param_groups:
            group["unfreeze_after"] = None
        optimizer.register_step_post_hook(lambda *_: self.clock.end())  # begun in on_before_optimizer_step
        return optimizer

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The forward pass."""
        with self.clock.part("forward"):
            return super().training_step(batch, batch_index)

    def optimizer_zero_grad(self, epoch: int, batch_index: int, optimizer: torch.optim.Optimizer) -> None:
        """Lets go of the last step's gradients; a part of the optimiser's work."""
        with self.clock.part("optimiser"):
            super().optimizer_zero_grad(epoch, batch_index, optimizer)

    def backward(self, loss: Tensor) -> None:
        """The backward pass."""
        with self.clock.part("backward"):
            super().backward(loss)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clips; Lightning calls this from within the optimiser's step, just before AdamW's own work."""
        self.clock.begin("optimiser")
        super().on_before_optimizer_step(optimizer)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """After the last micro-batch of a step."""
        super().on_train_batch_end(outputs, batch, batch_index)
        if (batch_index + 1) % self.recipe.batch.accumulate:
            return
        self.clock.step_done()
        if self.stop.number is not None:
            raise Interrupted(self.stop.number, STOPPED)
        step = self.trainer.global_step
        self.progress = min(1.0, share_done(self.recipe, step, sum(self.clock.wholes)))
        self.after_step(self, step)
        self.clock.start()


class TimedStream:
    """The stream of batches; it tells the clock of each batch it makes."""

    def __init__(self, stream: TrainingStream, clock: Clock):
        self.stream, self.clock = stream, clock

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.stream)
        while True:
            with self.clock.part("data"):
                batch = next(batches)
            yield batch


def train(planned: Plan, steps: int, clock: Clock, stop: Stop, after_step: AfterStep = lambda *_: None) -> None:
    """Trains a new model for so many steps. Raises RunFailed when the loss is no longer finite, or Interrupted."""
    recipe = planned.recipe
    model = build(recipe.model, planned.vocab_size, recipe.batch.length, recipe.seed)
    model.recompute = recipe.hardware.checkpoint_activations
    if planned.hardware.compiled:
        compile_blocks(model)
    module = TimedModule(model, planned, clock, stop, after_step)
    trainer = quiet_trainer(
        planned.hardware, max_steps=steps, max_epochs=-1, accumulate_grad_batches=recipe.batch.accumulate
    )
    trainer.fit(module, TimedStream(planned.stream, clock))
    module.mean_loss()
