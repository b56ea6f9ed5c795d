"""A bare training loop over one batch, with nothing around it: what is measured is the step alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn

from actbench.config.schema import BertSection, GptSection
from actbench.data.batches import Batch, CausalSequences, MaskedSequences, Sequences
from actbench.data.masking import Masking
from actbench.nn.bert import Bert
from actbench.nn.dropout import set_keys
from actbench.nn.gpt import Gpt
from actbench.training.hardware import Hardware


def training_step(
    model: Bert | Gpt, optimizer: torch.optim.Optimizer, batch: Batch, hardware: Hardware, clip_norm: float | None
) -> Callable[[], Tensor]:
    """The work of training the model by one more step on the same batch; it returns the step's loss."""
    batch = {name: field.to(hardware.device) for name, field in batch.items()}
    steps = count()

    def work() -> Tensor:
        set_keys(model, 0, next(steps))
        with hardware.autocast():
            loss = model(**batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm or float("inf"))
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return work


def random_batch(section: BertSection | GptSection, vocabulary: int, sequences: int, length: int) -> Batch:
    """So many sequences of random tokens, masked for BERT, the same in every call."""
    tokens = np.random.default_rng(0).integers(0, vocabulary, sequences * length + 1)
    source: Sequences = CausalSequences(tokens, length)
    if isinstance(section, BertSection):
        source = MaskedSequences(tokens, length, 0, 1, Masking(section.mask_fraction, 2, vocabulary))
    return source.batch(np.arange(sequences), [("bench", sample) for sample in range(sequences)])
