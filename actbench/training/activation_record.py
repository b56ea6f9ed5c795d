"""What a finished run tells about its activations: coefficients before and after, and the inputs they met."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from actbench.config.placement import placement, recipe_slot
from actbench.config.schema import BertSection, GptSection
from actbench.data.batches import Batch
from actbench.nn.build import activation_slots, slot_widths

SHOWN = 1000  # coefficients of one set that a metrics row gives one by one
SAMPLE = 8192  # values kept of each slot's inputs: enough for a histogram, small enough to keep with every run


def coefficients(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Every slot's learnable parameters as nested lists: {slot: {parameter: values}}."""
    return {
        slot: {name: parameter.detach().tolist() for name, parameter in activation.named_parameters()}
        for slot, activation in activation_slots(model).items()
    }


def gradients(model: nn.Module) -> dict[str, dict[str, Tensor | None]]:
    """The present gradients of every slot's learnable parameters, copied; None where there is none."""
    return {
        slot: {name: None if p.grad is None else p.grad.detach().clone() for name, p in activation.named_parameters()}
        for slot, activation in activation_slots(model).items()
    }


def coefficients_row(step: int, model: nn.Module, grads: dict[str, dict[str, Tensor | None]]) -> dict[str, Any] | None:
    """The metrics row of all coefficients after `step` steps, with the gradients of the last; None if there are none.

    Sets of more than SHOWN numbers are told by their mean, standard deviation, minimum and maximum.
    """
    learnt = {slot: dict(activation.named_parameters()) for slot, activation in activation_slots(model).items()}
    learnt = {slot: parameters for slot, parameters in learnt.items() if parameters}
    if not learnt:
        return None
    return {
        "step": step,
        "kind": "coefficients",
        "values": {slot: {name: _shown(p.detach()) for name, p in own.items()} for slot, own in learnt.items()},
        "gradients": {slot: {name: _shown(grads[slot][name]) for name in own} for slot, own in learnt.items()},
    }


def _shown(numbers: Tensor | None) -> Any:
    if numbers is None or numbers.numel() <= SHOWN:
        return None if numbers is None else numbers.tolist()
    exact = numbers.double()
    std = exact.std(correction=0)
    return {"mean": exact.mean().item(), "std": std.item(), "min": exact.min().item(), "max": exact.max().item()}


def describe(model: nn.Module, config: BertSection | GptSection, initial: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """JSON data: each slot's activation, the width it sees, and its coefficients at the start and now."""
    final, placed = coefficients(model), placement(config)
    return {
        "slots": [
            {
                "name": slot,
                "activation": placed[recipe_slot(slot)].model_dump(mode="json"),
                "width": width,
                "initial": initial[slot],
                "final": final[slot],
            }
            for slot, width in slot_widths(model).items()
        ]
    }


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
            if not len(rows):
                return  # an expert that no token of the batch goes to
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
