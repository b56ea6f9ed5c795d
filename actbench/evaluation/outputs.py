"""What fine-tuned models say of examples, in fp32 and in the order of the examples.

Shapes: B batch, T time, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from actbench.data.encoding import EncodedExamples, batches, evaluation_order, in_original_order
from actbench.nn.stack import Stack

Batch = dict[str, Tensor]

EVALUATED = 64  # examples at a time


@torch.no_grad()
def predict(
    stack: Stack, examples: Sequence[EncodedExamples], autocast: AbstractContextManager[None] | None = None
) -> list[list[np.ndarray]]:
    """For each model its outputs for its examples, of which all have equally many, in fp32.

    An example's are (K,), or (T, K) where each of its tokens has outputs.
    """
    device, was_training = next(stack.parameters()).device, stack.training
    stack.eval()
    orders = [evaluation_order(each) for each in examples]
    outputs: list[tuple[list[np.ndarray], ...]] = []
    with torch.compiler.set_stance("force_eager"), autocast or nullcontext():
        parts = (tensors(each, EVALUATED, order) for each, order in zip(examples, orders, strict=True))
        for batch in zip(*parts, strict=True):
            moved = [{key: own[key].to(device) for key in ("tokens", "segments", "attention")} for own in batch]
            outputs.append(tuple(map(_by_example, stack(moved), moved)))
    stack.train(was_training)
    found = ([row for part in each for row in part] for each in zip(*outputs, strict=True))
    return [in_original_order(rows, order) for rows, order in zip(found, orders, strict=True)]


def _by_example(outputs: Tensor, batch: Batch) -> list[np.ndarray]:
    """A batch's outputs (B, K) or (B, T, K), one array an example and without those at padding."""
    rows = list(outputs.float().cpu().numpy())
    if outputs.ndim == 2:
        return rows
    return [row[:length] for row, length in zip(rows, batch["attention"].sum(1).tolist(), strict=True)]


def tensors(examples: EncodedExamples, size: int, order: np.ndarray) -> Iterator[Batch]:
    """Batches of `size` examples in this order; see `batches`."""
    for batch in batches(examples, size, order):
        yield {key: torch.from_numpy(value) for key, value in batch.items()}
