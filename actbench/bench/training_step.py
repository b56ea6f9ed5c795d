"""A whole training step on random tokens, with nothing around it: forward, backward, clipping and AdamW."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn

from actbench.bench.memory import held_bytes
from actbench.config.schema import BertSection, GptSection, OptimizerSection
from actbench.data.batches import Batch, CausalSequences, MaskedSequences, Sequences
from actbench.data.masking import Masking
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.dropout import set_keys
from actbench.nn.gpt import Gpt
from actbench.nn.router import with_router_losses
from actbench.training.hardware import Hardware, compile_blocks
from actbench.training.optimizer import make_optimizer


def training_step(
    model: Bert | Gpt, optimizer: torch.optim.Optimizer, batch: Batch, hardware: Hardware, clip_norm: float | None
) -> Callable[[], Tensor]:
    """The work of training the model by one more step on the same batch; it returns the step's loss.

    No gradient is held afterwards.
    """
    steps = count()

    def work() -> Tensor:
        set_keys(model, 0, next(steps))
        with hardware.autocast():
            loss = model(**batch)
            total, _ = with_router_losses(loss, model)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm or float("inf"))
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return work


class TrainingStep:
    """A new model with the optimiser of a recipe that says nothing of it; each call trains it by one more step."""

    def __init__(self, section: BertSection | GptSection, batch: Batch, vocabulary: int, hardware: Hardware):
        settings = OptimizerSection()
        self._model = build(section, vocabulary, batch["tokens"].shape[1], seed=0).to(hardware.device)
        self._optimizer = make_optimizer(self._model, settings)
        if hardware.compiled:
            compile_blocks(self._model)
        self._step = training_step(self._model, self._optimizer, batch, hardware, settings.clip_norm)

    def __call__(self) -> None:
        """Another step."""
        self._step()

    def held_bytes(self) -> int:
        """Of the weights and, after the first step, the optimiser's state."""
        return held_bytes(self._model, self._optimizer)


def random_batch(
    section: BertSection | GptSection, sequences: int, length: int, vocabulary: int, device: str = "cpu"
) -> Batch:
    """Random tokens, masked for BERT, the same in every call."""
    tokens = np.random.default_rng(0).integers(0, vocabulary, sequences * length + 1)
    source: Sequences = CausalSequences(tokens, length)
    if isinstance(section, BertSection):
        source = MaskedSequences(tokens, length, 0, 1, Masking(section.mask_fraction, 2, vocabulary))
    batch = source.batch(np.arange(sequences), [("bench", sample) for sample in range(sequences)])
    return {key: value.to(device) for key, value in batch.items()}
