"""A whole training step of a model on random tokens: forward, backward, clipping and AdamW, as training does them."""

from __future__ import annotations

from itertools import count

import numpy as np
from torch import nn

from actbench.bench.memory import held_bytes
from actbench.config.schema import BertSection, GptSection, OptimizerSection
from actbench.data.batches import Batch, CausalSequences, MaskedSequences, Sequences
from actbench.data.masking import Masking
from actbench.nn.build import build
from actbench.nn.dropout import set_keys
from actbench.training.hardware import Hardware, compile_blocks
from actbench.training.optimizer import make_optimizer


class TrainingStep:
    """A new model; each call trains it by one more step on the same batch, in the hardware's precision."""

    def __init__(self, section: BertSection | GptSection, batch: Batch, vocabulary: int, hardware: Hardware):
        self._batch, self._hardware = batch, hardware
        self._model = build(section, vocabulary, batch["tokens"].shape[1], seed=0).to(hardware.device)
        self._limit = OptimizerSection().clip_norm or float("inf")
        self._optimizer = make_optimizer(self._model, OptimizerSection())
        if hardware.compiled:
            compile_blocks(self._model)
        self._steps = count()

    def __call__(self) -> None:
        """Another step. No gradient is held afterwards."""
        set_keys(self._model, 0, next(self._steps))
        with self._hardware.autocast():
            loss = self._model(**self._batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._limit)
        self._optimizer.step()
        self._optimizer.zero_grad()

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
