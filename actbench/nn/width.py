"""How wide a feed-forward block is, so that blocks with different activations are equally large or cost the same.

D is the model's width, F a block's: D -> F -> D in two matrices, and a third D -> F where the activation is gated.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from actbench import activations
from actbench.activations import Activation
from actbench.config.placement import POOLER, placement
from actbench.config.schema import ActivationSpec, BertSection, GptSection
from actbench.errors import BadInput

GELU = ActivationSpec(name="gelu")
WIDE = 3200  # from here on a multiple of 64 misses by 1 % at most


def widths(config: BertSection | GptSection) -> dict[str, int]:
    """The width that the activation of every slot sees: F in a block, D in the pooler.

    Raises BadInput, naming the slot, when its activation cannot have that width.
    """
    known: dict[str, int] = {}  # an activation stands in many layers
    found = {}
    for slot, spec in placement(config).items():
        key = spec.model_dump_json()
        if slot == POOLER:
            found[slot] = config.d_model
            _make(spec, config.d_model, slot)
            continue
        if key not in known:
            known[key] = ffn_width(config, spec)
            _make(spec, known[key], slot)
        found[slot] = known[key]
    return found


def ffn_width(config: BertSection | GptSection, spec: ActivationSpec) -> int:
    """F, by which the block has the parameters, or the FLOPs, of one with GELU and d_ff, as nearly as it can.

    F is d_ff, or else a multiple of 64, of 8 where that could miss by more than 1 %, and of the groups of channels that
    share coefficients. Raises BadInput when the activation cannot be made.
    """
    if config.ffn_width == "fixed":
        return config.d_ff
    cost = parameters if config.ffn_width == "matched" else flops
    target = cost(config, GELU, config.d_ff)
    groups = activations.groups(spec.options)
    low = groups * config.d_ff  # both costs grow in proportion to F, but for a constant
    at_low, at_high = cost(config, spec, low), cost(config, spec, 2 * low)
    a_column = (at_high - at_low) / low
    ideal = low + (target - at_low) / a_column
    step = math.lcm(64 if ideal >= WIDE else 8, groups)
    choices = [max(step, round(ideal / step) * step)]
    if not activations.get(spec.name).gated and config.d_ff % groups == 0:
        choices.insert(0, config.d_ff)
    return min(choices, key=lambda width: abs(width - ideal))


def parameters(config: BertSection | GptSection, spec: ActivationSpec, width: int) -> int:
    """Of one block: matrices, biases and the activation's coefficients."""
    activation = _make(spec, width)
    into = 2 if activation.gated else 1
    biases = into * width + config.d_model if has_biases(config) else 0
    return (into + 1) * config.d_model * width + biases + sum(p.numel() for p in activation.parameters())


def flops(config: BertSection | GptSection, spec: ActivationSpec, width: int) -> float:
    """Of one block for a token, forward: two for each weight of a matrix, and the activation's own."""
    from actbench.activations.cost import flops_per_element

    activation = _make(spec, width)
    matrices = 3 if activation.gated else 2
    with torch.device("cpu"):
        return 2 * matrices * config.d_model * width + flops_per_element(activation, width) * width


def has_biases(config: BertSection | GptSection) -> bool:
    """Whether linear layers have biases: all but LLaMA's do."""
    return isinstance(config, BertSection) or config.layout == "gpt2"


def _make(spec: ActivationSpec, width: int, slot: str = "a block") -> Activation:
    with torch.device("cpu"):
        try:
            return activations.create(spec.name, width=width, **spec.options)
        except BadInput as error:
            raise BadInput([replace(p, key=f"the activation of {slot}, {p.key}") for p in error.problems]) from None
