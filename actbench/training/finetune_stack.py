"""Fine-tuning as Lightning sees it: a stack of runs, each with its own weights, data order, rates and best epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from actbench.config.finetuning import FinetuneSettings
from actbench.config.schema import ActivationOptimizer, OptimizerSection, ScheduleSection
from actbench.data.encoding import EncodedExamples, epoch_order, longest_first
from actbench.errors import Interrupted, RunFailed
from actbench.evaluation.objectives import Objective, Verdict
from actbench.evaluation.outputs import Batch, predict, tensors
from actbench.nn.bert import Finetuned
from actbench.nn.build import activation_parameters
from actbench.nn.padding import GROUPED
from actbench.nn.stack import Stack
from actbench.store import RunWriter
from actbench.training.activation_record import coefficients_row, gradients
from actbench.training.finetune_plan import FinetunePlan
from actbench.training.hardware import Hardware
from actbench.training.module import key_step, take_mean
from actbench.training.optimizer import adamw, parameter_groups, set_learning_rates
from actbench.training.signals import Stop
from actbench.training.tuning import Trained

FIRST_BATCH = (64, 32)  # sequences and tokens that compiled pieces meet first
STOPPED = "stopped; what is finished stands, and the same command does the rest"


@dataclass(eq=False)
class Member:
    """One run of a stack: what it learns from, and how far it has come."""

    plan: FinetunePlan
    writer: RunWriter
    objective: Objective
    model: Finetuned
    trained: Trained
    train: EncodedExamples
    selection: EncodedExamples
    losses: list[Tensor] = field(default_factory=list)  # of this epoch's batches
    epochs: int = 0
    best_score: float = -np.inf
    best_epoch: int = 0
    chosen: Verdict | None = None  # on the selection set, in the best epoch
    best: dict[str, Tensor] = field(default_factory=dict)
    failure: str = ""

    def batches(self) -> Iterator[Batch]:
        """The training set's batches in the order of the next epoch."""
        size = self.plan.settings.batch_size
        order = epoch_order(len(self.train), self.plan.seed, self.epochs)
        return tensors(self.train, size, longest_first(self.train, size, order))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean over a batch: cross-entropy, of a span's start and end too, or the squared error of a regression."""
        if self.plan.data.task.kind == "regression":
            loss = F.mse_loss(outputs[:, 0], labels)
        else:
            loss = F.cross_entropy(outputs, labels.long())
        self.losses.append(loss.detach())
        return loss

    def goes_on(self, step: int, outputs: Sequence[np.ndarray]) -> bool:
        """Logs the epoch that ended, keeps the best weights; False when it has failed or not improved for long."""
        self.epochs += 1
        loss, task, patience = take_mean(self.losses), self.plan.data.task, self.plan.settings.patience
        try:
            self._check(step, loss)
            verdict = self.objective.judge(self.selection, outputs)
        except RunFailed as error:
            self.failure = str(error)
            return False
        row = {"step": step, "kind": "epoch", "epoch": self.epochs, "loss": loss}
        self.writer.log({**row, "selection": verdict.scores})
        if self._coefficients():
            self._log_coefficients(step)
        if verdict.scores[task.headline] > self.best_score:
            self.best_score, self.best_epoch, self.chosen = verdict.scores[task.headline], self.epochs, verdict
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return patience is None or self.epochs - self.best_epoch < patience

    def _coefficients(self) -> list[Parameter]:
        """Those that learn."""
        return [parameter for parameter in activation_parameters(self.model) if parameter.requires_grad]

    def _check(self, step: int, loss: float) -> None:
        if not np.isfinite(loss):
            raise RunFailed(f"the loss is no longer finite at step {step}")
        if not all(parameter.isfinite().all() for parameter in self._coefficients()):
            raise RunFailed(f"the coefficients are no longer finite at step {step}")

    def _log_coefficients(self, step: int) -> None:
        """As pre-training does at a validation; the last step's gradients are still there."""
        row = coefficients_row(step, self.model, gradients(self.model))
        assert row is not None
        self.writer.log(row)


class FinetuneModule(pl.LightningModule):
    """The members that still learn, each as if alone: dropout is keyed by (seed, step), rates follow its settings."""

    def __init__(self, members: Sequence[Member], total_steps: int, *, compiled: bool):
        super().__init__()
        self.members, self.total_steps, self.compiled = list(members), total_steps, compiled
        self.stack = Stack([member.model for member in members])

    def on_train_start(self) -> None:
        """Has compiled pieces meet a batch that is always the same, and one sequence where the run has such a group.

        The compiler lays out its loops by the sizes that it meets first: the order of a sum, and a run's last bits,
        would hang on what this process, or another that left its graphs, trained before. Only models of fewer positions
        meet shorter sequences.
        """
        if not self.compiled:
            return
        (member,) = self.members
        size, positions = member.plan.settings.batch_size, member.model.encoder.positions.num_embeddings
        # To the compiler a group of one is a case apart.
        single = any(count % GROUPED == 1 for count in (size, len(member.train) % size))
        sequences, length = FIRST_BATCH[0], min(FIRST_BATCH[1], positions)
        for count in (sequences, 1) if single else (sequences,):
            tokens = torch.zeros(count, length, dtype=torch.int64, device=self.device)
            lengths = length - torch.arange(count, device=self.device) % 2
            real = torch.arange(length, device=self.device) < lengths[:, None]
            with self.trainer.precision_plugin.train_step_context():
                (outputs,) = self.stack([{"tokens": tokens, "segments": tokens, "attention": real}])
                outputs.float().sum().backward()
        self.zero_grad()

    def training_step(self, batch: list[Batch], batch_index: int) -> Tensor:
        """The sum of the members' losses: none's gradient has a part of another's."""
        each = zip(self.members, self.stack(batch), batch, strict=True)
        return torch.stack([member.loss(outputs.float(), own["labels"]) for member, outputs, own in each]).sum()

    def on_train_batch_start(self, batch: list[Batch], batch_index: int) -> None:
        """Keys this step's random numbers, and sets its learning rates."""
        step = self.trainer.global_step
        for member in self.members:
            key_step(member.model, member.plan.seed, step)
        schedule = ScheduleSection(kind="linear", warmup_fraction=self.members[0].plan.settings.warmup_fraction)
        set_learning_rates(self.optimizer, schedule, (step + 0.5) / self.total_steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, each member's parameters in groups of their own, and its activations in one of theirs."""
        groups = [
            {**group, "member": member}
            for member in self.members
            for group in parameter_groups(member.model, _section(member.plan.settings))
        ]
        self.optimizer = adamw(groups, _section(self.members[0].plan.settings))
        return self.optimizer

    def keep(self, members: Sequence[Member]) -> None:
        """Goes on with these members, and without those that have finished or failed."""
        self.members = list(members)
        self.stack = Stack([member.model for member in members])
        groups = [group for group in self.optimizer.param_groups if group["member"] in members]
        self.optimizer.param_groups[:] = groups
        left = {parameter for group in groups for parameter in group["params"]}
        for parameter in self.optimizer.state.keys() - left:
            del self.optimizer.state[parameter]


class Epochs:
    """What a module's members learn from: each iteration their next epoch, one batch of every member at a time."""

    def __init__(self, module: FinetuneModule, length: int):
        self.module, self.length = module, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[list[Batch]]:
        return map(list, zip(*(member.batches() for member in self.module.members), strict=True))


class Selection(pl.Callback):
    """After each epoch: scores every member on its selection set, and lets go of those that have finished."""

    def __init__(self, hardware: Hardware, stop: Stop):
        self.hardware, self.stop = hardware, stop

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Listens to signals anew: Lightning has just taken them over."""
        self.stop.listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Obeys a signal. A fine-tuning run is short: it keeps no state and starts over."""
        if self.stop.number is not None:
            raise Interrupted(self.stop.number, STOPPED)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Scores the epoch that just ended."""
        assert isinstance(module, FinetuneModule)
        members = module.members
        outputs = predict(module.stack, [member.selection for member in members], self.hardware.autocast())
        left = [
            member for member, found in zip(members, outputs, strict=True) if member.goes_on(trainer.global_step, found)
        ]
        if not left:
            trainer.should_stop = True
        elif len(left) < len(members):
            module.keep(left)


def _section(settings: FinetuneSettings) -> OptimizerSection:
    own = ActivationOptimizer(lr=settings.activation_lr, weight_decay=settings.activation_weight_decay)
    return OptimizerSection(lr=settings.lr, betas=(0.9, 0.999), weight_decay=settings.weight_decay, activation=own)
