"""Sides for what a process settles once, before torch is there or around the whole of training."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import PretrainOrder, Report, last_quarter
from actbench.training.allocator import keep_freed_memory


def memory_kept(order: PretrainOrder, gate: Gate) -> Report:
    """The step in a process that keeps its freed memory, as actbench's does."""
    keep_freed_memory()
    return _steps(order, gate)


def memory_returned(order: PretrainOrder, gate: Gate) -> Report:
    """The step in a process as it is."""
    return _steps(order, gate)


def quiet_trainer(order: PretrainOrder, gate: Gate) -> Report:
    """Lightning's Trainer as actbench sets it."""
    keep_freed_memory()
    from actbench.training.trainer import quiet_trainer

    return _fit(order, gate, quiet_trainer)


def default_trainer(order: PretrainOrder, gate: Gate) -> Report:
    """Lightning's Trainer as it is when nothing is said but what to train on, and where to write."""
    keep_freed_memory()
    from actbench.training import trainer
    from actbench.training.hardware import Hardware

    def default(hardware: Hardware, **options: Any) -> trainer.pl.Trainer:
        return trainer.pl.Trainer(
            accelerator=hardware.device,
            devices=1,
            precision=hardware.lightning_precision,
            default_root_dir=order.folder,
            **options,
        )

    return _fit(order, gate, default)


def gradients_held(order: PretrainOrder, gate: Gate) -> Report:
    """actbench's own, but gradients live through the next forward pass, as Lightning has it."""
    keep_freed_memory()
    from actbench.training.module import PretrainModule
    from actbench.training.trainer import pl, quiet_trainer

    class Holding(PretrainModule):
        optimizer_step = pl.LightningModule.optimizer_step

    return _fit(order, gate, quiet_trainer, Holding)


def _steps(order: PretrainOrder, gate: Gate) -> Report:
    from actbench.bench import machine
    from actbench.bench.tricks.catalogue import Plain
    from actbench.bench.tricks.measure import training

    step = training(order.recipe, machine.hardware(), Plain())
    losses = []
    for _ in range(order.recipe.budget.steps or 0):
        losses.append(step().item())
        gate.step_done()
    return Report(loss=last_quarter(losses))


def _fit(order: PretrainOrder, gate: Gate, make: Any, kind: Any = None) -> Report:
    """Pre-training's module, or another kind of it, on one batch, by a Trainer; reports the mean of all losses."""
    from actbench.bench import machine
    from actbench.bench.training_step import random_batch
    from actbench.nn.build import build
    from actbench.training.hardware import compile_blocks
    from actbench.training.module import PretrainModule

    recipe, hardware = order.recipe, machine.hardware()
    vocabulary, batch = recipe.tokenizer.vocab_size, recipe.batch
    model = build(recipe.model, vocabulary, batch.length, recipe.seed)
    if hardware.compiled:
        compile_blocks(model)
    module = (kind or PretrainModule)(model, recipe)
    gate.follow_optimizers()
    trainer = make(hardware, max_steps=recipe.budget.steps, max_epochs=-1)
    trainer.fit(module, repeat(random_batch(recipe.model, batch.sequences, batch.length, vocabulary)))
    return Report(loss=module.mean_loss())
