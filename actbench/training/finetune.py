"""Fine-tuning a pre-trained BERT: many small runs in one process, sharing data and weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from actbench.config.schema import (
    ActivationOptimizer,
    FinetuneSettings,
    HardwareSection,
    OptimizerSection,
    ScheduleSection,
)
from actbench.data.encoding import EncodedExamples, batches, encode, epoch_order, evaluation_order, in_original_order
from actbench.data.tasks import Example, Task
from actbench.errors import Interrupted, RunFailed
from actbench.evaluation.load import load, recipe_of, recorded_recipe
from actbench.evaluation.metrics import score
from actbench.nn.bert import Bert, BertClassifier
from actbench.nn.heads import Classifier
from actbench.nn.init import initialize_classifier
from actbench.store import Run, RunWriter, claim, environment
from actbench.store.atomic import replacing, write_json
from actbench.training.activation_record import coefficients, describe, sample_inputs
from actbench.training.finetune_plan import FinetunePlan
from actbench.training.hardware import Hardware, choose
from actbench.training.module import key_step, take_mean
from actbench.training.optimizer import make_optimizer, set_learning_rates
from actbench.training.plan import Say
from actbench.training.signals import Stop, stoppable
from actbench.training.trainer import quiet_trainer

Batch = dict[str, Tensor]

STOPPED = "stopped; what is finished stands, and the same command does the rest"


class FinetuneModule(pl.LightningModule):
    """Cross-entropy, or the squared error of a regression; dropout keyed by (seed, step)."""

    def __init__(self, model: BertClassifier, task: Task, settings: FinetuneSettings, seed: int, total_steps: int):
        super().__init__()
        self.model, self.task, self.settings = model, task, settings
        self.seed, self.total_steps = seed, total_steps
        self.losses: list[Tensor] = []

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The mean loss of one batch."""
        outputs = self.model(batch["tokens"], batch["segments"], batch["attention"]).float()
        if self.task.kind == "regression":
            loss = F.mse_loss(outputs[:, 0], batch["labels"])
        else:
            loss = F.cross_entropy(outputs, batch["labels"].long())
        self.losses.append(loss.detach())
        return loss

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Keys this step's random numbers, and sets its learning rates."""
        step = self.trainer.global_step
        key_step(self.model, self.seed, step)
        schedule = ScheduleSection(kind="linear", warmup_fraction=self.settings.warmup_fraction)
        set_learning_rates(self.optimizer, schedule, (step + 0.5) / self.total_steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, the activations in a group of their own."""
        own = ActivationOptimizer(lr=self.settings.activation_lr)
        section = OptimizerSection(
            lr=self.settings.lr, betas=(0.9, 0.999), weight_decay=self.settings.weight_decay, activation=own
        )
        self.optimizer = make_optimizer(self.model, section)
        return self.optimizer

    def mean_loss(self) -> float:
        """The mean loss since the last call. Raises RunFailed when it is not a number."""
        loss = take_mean(self.losses)
        if not np.isfinite(loss):
            raise RunFailed(f"the loss is no longer finite at step {self.trainer.global_step}")
        return loss


class Epochs:
    """The training set's batches, each iteration the next epoch in that epoch's order."""

    def __init__(self, examples: EncodedExamples, batch_size: int, seed: int):
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = epoch_order(len(self.examples), self.seed, self.epoch)
        self.epoch += 1
        for batch in batches(self.examples, self.batch_size, order):
            yield {key: torch.from_numpy(value) for key, value in batch.items()}


class Selection(pl.Callback):
    """After each epoch: scores the selection set, keeps the best weights, stops when nothing has improved for long."""

    def __init__(self, writer: RunWriter, examples: EncodedExamples, hardware: Hardware, stop: Stop):
        self.writer, self.examples, self.hardware, self.stop = writer, examples, hardware, stop
        self.best_score, self.best_epoch = -np.inf, 0
        self.best: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Listens to signals anew: Lightning has just taken them over."""
        self.stop.listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_index: int
    ) -> None:
        """Obeys a signal. A fine-tuning run is short: it keeps no state and starts over."""
        if self.stop.number is not None:
            raise Interrupted(self.stop.number, STOPPED)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Scores the epoch that just ended."""
        assert isinstance(module, FinetuneModule)
        epoch, task = trainer.current_epoch + 1, module.task
        result = score(task, predict(module.model, self.examples, task, self.hardware), self.examples.labels)
        row = {"step": trainer.global_step, "kind": "epoch", "epoch": epoch, "loss": module.mean_loss()}
        self.writer.log({**row, "selection": result})
        if result[task.headline] > self.best_score:
            self.best_score, self.best_epoch = result[task.headline], epoch
            self.best = {name: value.detach().clone() for name, value in module.model.state_dict().items()}
        patience = module.settings.patience
        trainer.should_stop = patience is not None and epoch - self.best_epoch >= patience


def finetune(plans: Iterable[FinetunePlan], say: Say) -> Iterator[Run]:
    """Runs the plans in order and yields each run; those found finished are not repeated.

    A run whose loss stops being a number is yielded unfinished, its reason recorded, and stops no other.
    Raises Interrupted after a signal: the runs before it stand.
    """
    for plan in plans:
        if plan.run.manifest is None:
            say(f"{plan.run.id}: {_finetune(plan)}")
        yield plan.run


def _finetune(plan: FinetunePlan) -> str:
    """Runs one plan and returns how it ended, in a few words."""
    with claim(plan.folder) as writer:
        if plan.run.manifest is None:  # another process may have finished it meanwhile
            writer.begin()
            writer.metrics_path.unlink(missing_ok=True)
            try:
                _finetune_one(plan, writer)
            except RunFailed as error:
                writer.fail(str(error))
                return f"failed: {error}"
    headline = plan.run.summary["headline"]
    return f"{headline['metric']} {headline['value']:.4f}"


def _finetune_one(plan: FinetunePlan, writer: RunWriter) -> None:
    began = time.perf_counter()
    task, settings, recipe = plan.data.task, plan.settings, recipe_of(plan.parent)
    hardware = choose(HardwareSection(device=recipe.hardware.device, precision=settings.precision, compile="never"))
    _describe(plan, writer, hardware)
    length = min(settings.length, recipe.batch.length)
    train, selection = (_encoded(plan.parent, tuple(part), length) for part in plan.train_and_selection())
    model = _new_model(plan.parent, task, plan.seed)
    initial = coefficients(model.encoder)
    epochs = Epochs(train, settings.batch_size, plan.seed)
    module = FinetuneModule(model, task, settings, plan.seed, settings.epochs * len(epochs))
    with stoppable(STOPPED) as stop:
        chooser = Selection(writer, selection, hardware, stop)
        quiet_trainer(hardware, chooser, max_epochs=settings.epochs).fit(module, epochs)
    model.load_state_dict(chooser.best)
    model.to(hardware.device)  # Lightning takes the model off the device when it has finished
    tests = {name: _encoded(plan.parent, tuple(examples), length) for name, examples in plan.data.evaluation.items()}
    scores = {name: score(task, predict(model, test, task, hardware), test.labels) for name, test in tests.items()}
    _save(plan, writer, model, initial, hardware, train)
    first = next(iter(scores.values()))
    writer.commit(
        {
            "task": task.name,
            "scores": scores,
            "headline": {"metric": task.headline, "value": first[task.headline]},
            "selection": chooser.best_score,
            "epochs": epochs.epoch,
            "best_epoch": chooser.best_epoch,
            "train_examples": len(train),
            "seconds": round(time.perf_counter() - began, 3),
        }
    )


@torch.no_grad()
def predict(model: BertClassifier, examples: EncodedExamples, task: Task, hardware: Hardware) -> np.ndarray:
    """Class indices, or scores of a regression, one an example (N,)."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    order = evaluation_order(examples)
    outputs = []
    with hardware.autocast():
        for batch in batches(examples, 64, order):
            fields = (torch.from_numpy(batch[key]).to(device) for key in ("tokens", "segments", "attention"))
            outputs.append(model(*fields).float().cpu())
    model.train(was_training)
    scores = torch.cat(outputs)
    found = scores[:, 0] if task.kind == "regression" else scores.argmax(-1)
    return in_original_order(found.numpy(), order)


def _new_model(parent: Run, task: Task, seed: int) -> BertClassifier:
    recipe = recipe_of(parent)
    assert recipe.model.family == "bert"
    classifier = Classifier(recipe.model.d_model, task.n_classes, recipe.model.dropout)
    initialize_classifier(classifier, recipe.model, seed)
    return BertClassifier(copy.deepcopy(_pretrained(parent)), classifier)


@lru_cache(maxsize=1)
def _pretrained(parent: Run) -> Bert:
    model = load(parent)
    assert isinstance(model, Bert)
    return model


@lru_cache(maxsize=8)
def _encoded(parent: Run, examples: tuple[Example, ...], length: int) -> EncodedExamples:
    return encode(parent.folder / "tokenizer.json", examples, length)


def _describe(plan: FinetunePlan, writer: RunWriter, hardware: Hardware) -> None:
    parent = plan.parent.info
    writer.describe(
        {
            "kind": "finetune",
            "parent": plan.parent.id,
            "recipe": parent["recipe"],
            "code": parent["code"],
            "model": parent["model"],
            "task": {**asdict(plan.data.task), "headline": plan.data.task.headline},
            "finetune": plan.settings.model_dump(mode="json"),
            "finetune_seed": plan.seed,
            "data": {"hash": plan.data_hash, **plan.data.facts},
            "hardware": hardware.facts(),
            "environment": environment(),
        }
    )


def _save(
    plan: FinetunePlan,
    writer: RunWriter,
    model: BertClassifier,
    initial: dict[str, Any],
    hardware: Hardware,
    train: EncodedExamples,
) -> None:
    recorded = recorded_recipe(plan.parent)
    write_json(writer.folder / "activations.json", describe(model.encoder, recorded.model, initial))
    for copy_ in plan.parent.folder.glob("activation-*.py"):
        (writer.folder / copy_.name).write_bytes(copy_.read_bytes())
    batch = next(iter(batches(train, 16, np.arange(len(train)))))
    inputs = {key: torch.from_numpy(batch[key]) for key in ("tokens", "segments", "attention")}
    with replacing(writer.folder / "activation_inputs.safetensors") as temporary:
        save_file(sample_inputs(model, inputs, hardware.autocast()), str(temporary))
