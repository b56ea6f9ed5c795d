"""How alike a token's hidden states are at different depths of a model.

Shapes: B batch, T time, N = B T tokens, D model width, S = layers + 1 states: the embeddings, then each block's output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.data.batches import Batch
from actbench.nn.bert import Bert
from actbench.nn.gpt import Gpt


@torch.no_grad()
def layer_similarity(model: Bert | Gpt, batches: Iterable[Batch]) -> list[list[float]]:
    """(S, S): the cosine between a token's states at two depths, averaged over all tokens. Dropout is off."""
    device = next(model.parameters()).device
    model.eval()
    total, tokens = torch.zeros(len(model.layers) + 1, len(model.layers) + 1, dtype=torch.float64), 0
    for batch in batches:
        states = _states(model, {key: batch[key].to(device) for key in ("tokens", "documents") if key in batch})
        total += cosines(states).cpu() * states.shape[1]
        tokens += states.shape[1]
    result: list[list[float]] = (total / tokens).clamp(-1, 1).tolist()  # rounding may go beyond
    return result


def cosines(states: Tensor) -> Tensor:
    """(S, N, D) -> (S, S) in fp64: the mean over tokens of the cosine of each pair. A state of zeros has cosine 0."""
    unit = F.normalize(states.float(), dim=-1)
    return torch.einsum("ind,jnd->ij", unit, unit).double() / states.shape[1]


def _states(model: Bert | Gpt, inputs: dict[str, Tensor]) -> Tensor:
    """What `encode` takes, (B, T), -> (S, N, D): what the first block receives, and what each gives on, not normed."""
    states: list[Tensor] = []

    def received(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        states.append(inputs[0].flatten(0, -2))

    def given(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        states.append(output.flatten(0, -2))

    hooks = [model.layers[0].register_forward_pre_hook(received)]
    hooks += [layer.register_forward_hook(given) for layer in model.layers]
    try:
        with torch.compiler.set_stance("force_eager"):
            model.encode(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(states)
