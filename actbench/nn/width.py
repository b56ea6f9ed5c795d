"""How wide a feed-forward block is, so that blocks with different activations are equally large or cost the same.

D is the model's width, F a block's: D -> F -> D in two matrices, and a third D -> F where the activation is gated.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from actbench import activations
from actbench.activations import Activation
from actbench.config.moe import MoeSection
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
    """Of one block: matrices, biases and the activation's coefficients; with experts, all of them and the router."""
    return matrix_weights(config, spec, width) + biases(config, spec, width) + coefficients(config, spec, width)


def matrix_weights(config: BertSection | GptSection, spec: ActivationSpec, width: int, *, active: bool = False) -> int:
    """The weights of a block's matrices; of its experts', if `active`, only as many as a token meets."""
    weights = (3 if activations.get(spec.name).gated else 2) * config.d_model * width
    moe = experts_of(config)
    if moe is None:
        return weights
    return (moe.top_k if active else moe.experts) * weights + config.d_model * moe.experts


def biases(config: BertSection | GptSection, spec: ActivationSpec, width: int) -> int:
    """Of one block."""
    into = 2 if activations.get(spec.name).gated else 1
    return into * width + config.d_model if has_biases(config) else 0


def coefficients(config: BertSection | GptSection, spec: ActivationSpec, width: int, *, active: bool = False) -> int:
    """Of a block's activation; of its experts', if `active`, only as many as a token meets."""
    one = sum(parameter.numel() for parameter in _make(spec, width).parameters())
    moe = experts_of(config)
    if moe is None or moe.activation_sharing == "layer":
        return one
    return (moe.top_k if active else moe.experts) * one


def flops(config: BertSection | GptSection, spec: ActivationSpec, width: int) -> float:
    """Of one block for a token, forward: two for each weight of a matrix, and the activation's own."""
    from actbench.activations.cost import flops_per_element

    activation, moe = _make(spec, width), experts_of(config)
    with torch.device("cpu"):
        elements = width * (moe.top_k if moe else 1)
        return 2 * matrix_weights(config, spec, width, active=True) + flops_per_element(activation, width) * elements


def experts_of(config: BertSection | GptSection) -> MoeSection | None:
    """What the model says of experts; None where it has none."""
    return config.moe if isinstance(config, GptSection) else None


def has_biases(config: BertSection | GptSection) -> bool:
    """Whether linear layers have biases: all but LLaMA's do."""
    return isinstance(config, BertSection) or config.layout == "gpt2"


def _make(spec: ActivationSpec, width: int, slot: str = "a block") -> Activation:
    with torch.device("cpu"):
        try:
            return activations.create(spec.name, width=width, **spec.options)
        except BadInput as error:
            raise BadInput([replace(p, key=f"the activation of {slot}, {p.key}") for p in error.problems]) from None
