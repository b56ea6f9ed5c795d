"""From a recipe's model section to a model."""

from __future__ import annotations

from typing import cast

from torch import nn

from actbench.activations import Activation
from actbench.config.placement import expert_slot
from actbench.config.schema import BertSection, GptSection
from actbench.nn.bert import Bert
from actbench.nn.experts import EachExpertsOwn, MixtureOfExperts
from actbench.nn.feed_forward import FeedForward
from actbench.nn.gpt import Gpt
from actbench.nn.heads import Pooler
from actbench.nn.init import initialize


def build(config: BertSection | GptSection, vocab_size: int, length: int, seed: int) -> Bert | Gpt:
    """A new model with the initial weights that (config, seed) decide."""
    model = skeleton(config, vocab_size, length)
    initialize(model, config, seed)
    return model


def skeleton(config: BertSection | GptSection, vocab_size: int, length: int) -> Bert | Gpt:
    """The same model with weights that mean nothing yet, to load others into."""
    if isinstance(config, BertSection):
        return Bert(config, vocab_size, length)
    return Gpt(config, vocab_size, length)


def activation_slots(model: nn.Module) -> dict[str, Activation]:
    """Every activation in the model by its slot: "layers.0", ..., "pooler".

    Where each expert has its own: "layers.0.expert.0", ...
    """
    return {slot: module for slot, (module, _) in _slots(model).items()}


def slot_widths(model: nn.Module) -> dict[str, int]:
    """The width that the activation of every slot sees."""
    return {slot: width for slot, (_, width) in _slots(model).items()}


def activation_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The learnable coefficients of all activations."""
    return {parameter for activation in activation_slots(model).values() for parameter in activation.parameters()}


def _slots(model: nn.Module) -> dict[str, tuple[Activation, int]]:
    """The activation of every slot, and the width it sees."""
    slots: dict[str, tuple[Activation, int]] = {}
    for name, module in model.named_modules():
        if not isinstance(module, FeedForward | MixtureOfExperts | Pooler):
            continue
        slot = name.removeprefix("encoder.").removesuffix(".feed_forward")
        if isinstance(module.activation, EachExpertsOwn):
            for number, activation in enumerate(module.activation.experts):
                slots[expert_slot(slot, number)] = (cast(Activation, activation), module.width)
        else:
            slots[slot] = (module.activation, module.width)
    return slots
