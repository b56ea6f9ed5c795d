"""What happens after each optimiser step, in one place and in order: log, validate, save, obey signals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from actbench.config.schema import Recipe
from actbench.data.batches import Batch
from actbench.errors import Interrupted, RunFailed
from actbench.evaluation.weight_rank import model_ranks
from actbench.nn.router import RouterWatch
from actbench.store.atomic import replacing
from actbench.store.writer import RunWriter
from actbench.training.activation_record import coefficients_row, gradients
from actbench.training.loggers import Loggers
from actbench.training.module import PretrainModule
from actbench.training.progress import Display
from actbench.training.signals import Stop
from actbench.training.world import ALONE, World


class Recorder(pl.Callback):
    """Keeps a run's clock and journal. Its state, saved in the checkpoint: the time trained, the last coefficients."""

    def __init__(
        self,
        recipe: Recipe,
        writer: RunWriter,
        validate: Callable[..., float],
        display: Display,
        stop: Stop,
        loggers: Loggers,
        world: World = ALONE,
    ):
        self.recipe, self.writer, self.validate, self.display = recipe, writer, validate, display
        self.stop, self.loggers, self.world = stop, loggers, world
        self.seconds = 0.0  # spent training, without validations and saves
        self._coefficients: dict[str, Any] | None = None  # the last row of them
        self._gradients: dict[str, dict[str, Tensor | None]] = {}  # of this step, if a validation may follow it
        self._warm: tuple[int, float] | None = None  # (step, seconds) at the first log: compiling is over by then
        self._mark = 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        return {"seconds": self.seconds, "coefficients": self._coefficients}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the clock and the journal where the checkpoint left them."""
        self.seconds, self._coefficients = state_dict["seconds"], state_dict["coefficients"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Starts the clock, and drops rows that a resumed run is going to write again."""
        self.world.led(lambda: self.writer.keep_metrics_until(trainer.global_step or -1))
        self.stop.listen()
        self._set_progress(trainer, module)
        assert isinstance(module, PretrainModule)
        if trainer.global_step == 0:
            self._log_ranks(0, module)
        self._mark = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Keeps the coefficients' gradients, before the module clips them, where a validation may want to tell them."""
        assert isinstance(module, PretrainModule)
        step, last = trainer.global_step + 1, self.recipe.total_steps  # a budget in minutes may end with any step
        if step % self.recipe.validation.every_steps == 0 or last is None or step == last:
            self._gradients = gradients(module.model)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_index: int
    ) -> None:
        """After the last micro-batch of a step."""
        assert isinstance(module, PretrainModule)
        if (batch_index + 1) % self.recipe.batch.accumulate:
            return
        step = trainer.global_step
        now = time.perf_counter()
        # Once for all: a signal may come between two lines, or to one process only, and clocks differ.
        stop, self.seconds = self.world.most(
            self.stop.number or 0, self.seconds + now - self._mark if self.world.first else 0.0
        )
        self._set_progress(trainer, module)
        last = module.progress >= 1
        if last or step % self.recipe.logging.every_steps == 0:
            self._log_training(step, module)
        if last or step % self.recipe.validation.every_steps == 0:
            self._log_validation(step, module)
        if last or stop or step % self.recipe.checkpoint.every_steps == 0:
            save_checkpoint(trainer, self.writer.checkpoint, self.world)
        if stop:
            raise Interrupted(int(stop), f"stopped at step {step}; --resume goes on from there")
        trainer.should_stop = last
        self._mark = time.perf_counter()

    def tokens_per_second(self, step: int) -> float:
        """Since the first logged step, or since the start before that."""
        first_step, first_seconds = self._warm or (0, 0.0)
        if step == first_step:
            first_step, first_seconds = 0, 0.0
        return (step - first_step) * self.recipe.tokens_per_step / max(1e-9, self.seconds - first_seconds)

    def _set_progress(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        done = share_done(self.recipe, trainer.global_step, self.seconds)
        # Rates are taken at the middle of a step, so that neither the first nor the last step has rate zero.
        half = 0.5 / self.recipe.total_steps if self.recipe.total_steps else 0.0
        module.progress = 1.0 if done >= 1 else done + half

    def _log_training(self, step: int, module: PretrainModule) -> None:
        row = {
            "step": step,
            "kind": "train",
            **self._clock(step),
            "loss": module.mean_loss(),
            **module.mean_router_losses(),
            "grad_norm": float(module.grad_norm),
            "lr": module.optimizer.param_groups[0]["lr"],
            "tokens_per_second": round(self.tokens_per_second(step), 1),
        }
        self._warm = self._warm or (step, self.seconds)
        self._write(row, module)

    def _log_validation(self, step: int, module: PretrainModule) -> None:
        with RouterWatch(module.model) as watch:
            loss = self.validate()
        watch.join(self.world.gathered)
        if not math.isfinite(loss):
            raise RunFailed(f"the validation loss is no longer finite at step {step}")
        row = {"step": step, "kind": "validation", **self._clock(step), "loss": loss}
        self._write({**row, "perplexity": math.exp(min(loss, 700)), **watch.overall()}, module)
        for name in self.recipe.validation.sets:
            self._write(self._set_row(step, name), module)
        if routed := watch.by_layer():
            self.world.led(lambda: self.writer.log({"step": step, "kind": "experts", "layers": routed}))
        self._coefficients = coefficients_row(step, module.model, self._gradients)
        if self._coefficients is not None:
            found = self._coefficients
            self.world.led(lambda: self.writer.log(found))
        self._log_ranks(step, module)

    def _log_ranks(self, step: int, module: PretrainModule) -> None:
        if self.recipe.logging.ranks:
            row = {"step": step, "kind": "ranks", **self._clock(step), "slots": model_ranks(module.model)}
            self.world.led(lambda: self.writer.log(row))

    def _set_row(self, step: int, name: str) -> dict[str, Any]:
        """The loss on a named set; null where it is not finite, since no set may change how a run goes on."""
        loss = self.validate(name)
        finite = math.isfinite(loss)
        figures = {"loss": loss if finite else None, "perplexity": math.exp(min(loss, 700)) if finite else None}
        return {"step": step, "kind": "validation_set", "set": name, **self._clock(step), **figures}

    def _clock(self, step: int) -> dict[str, Any]:
        return {"tokens": step * self.recipe.tokens_per_step, "seconds": round(self.seconds, 3)}

    def _write(self, row: dict[str, Any], module: PretrainModule) -> None:
        def write() -> None:
            self.writer.log(row)
            self.display.show(row, min(1.0, module.progress))
            self.loggers.log(row)

        self.world.led(write)


def share_done(recipe: Recipe, step: int, seconds: float) -> float:
    """The share of the recipe's budget that is used up after `step` steps and `seconds` of training."""
    if recipe.total_steps is not None:
        return step / recipe.total_steps
    assert recipe.budget.minutes is not None
    return seconds / (60 * recipe.budget.minutes)


def save_checkpoint(trainer: pl.Trainer, path: Path, world: World) -> None:
    """Writes the whole training state; a crash at any moment leaves the former one in place.

    As `trainer.save_checkpoint`, but where one process cannot write, the others do not wait for it.
    """
    state = trainer._checkpoint_connector.dump_checkpoint()

    def write() -> None:
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            trainer.strategy.checkpoint_io.save_checkpoint(state, temporary)

    world.led(write)
