"""What a finished run tells about its activations: coefficients before and after, and the inputs they met."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from actbench.config.schema import BertSection, GptSection
from actbench.data.batches import Batch
from actbench.nn.build import activation_slots

SAMPLE = 8192  # values kept of each slot's inputs: enough for a histogram, small enough to keep with every run


def coefficients(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Every slot's learnable parameters as nested lists: {slot: {parameter: values}}."""
    return {
        slot: {name: parameter.detach().tolist() for name, parameter in activation.named_parameters()}
        for slot, activation in activation_slots(model).items()
    }


def describe(model: nn.Module, config: BertSection | GptSection, initial: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """JSON data: each slot's activation with its coefficients at the start and now."""
    final = coefficients(model)
    slots = []
    for slot in final:
        pooler = slot == "pooler" and isinstance(config, BertSection)
        spec = config.pooler_activation if pooler else config.activation  # type: ignore[union-attr]
        slots.append(
            {"name": slot, "activation": spec.model_dump(mode="json"), "initial": initial[slot], "final": final[slot]}
        )
    return {"slots": slots}


@torch.no_grad()
def sample_inputs(model: nn.Module, batch: Batch, autocast: AbstractContextManager[None]) -> dict[str, Tensor]:
    """What each activation receives on one batch: {slot: (R, F) in fp32}, whole rows, evenly spaced over the tokens.

    R is such that about SAMPLE values are kept. A gated activation's sample is its gate's input. Slots that the batch
    does not reach are left out.
    """
    device = next(model.parameters()).device
    samples: dict[str, Tensor] = {}

    def watch(slot: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].detach().float().flatten(0, -2)
            wanted = min(len(rows), max(1, SAMPLE // rows.shape[-1]))
            chosen = torch.linspace(0, len(rows) - 1, wanted, device=rows.device).long()
            samples[slot] = rows[chosen].cpu().contiguous()

        return hook

    hooks = [module.register_forward_pre_hook(watch(slot)) for slot, module in activation_slots(model).items()]
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"), autocast:
            model(**{key: value.to(device) for key, value in batch.items()})
    finally:
        for hook in hooks:
            hook.remove()
    return samples
