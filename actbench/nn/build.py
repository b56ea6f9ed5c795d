"""From a recipe's model section to a model, and how large it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from actbench.activations import Activation
from actbench.config.placement import POOLER, placement
from actbench.config.schema import BertSection, GptSection
from actbench.nn.bert import Bert
from actbench.nn.feed_forward import FeedForward
from actbench.nn.gpt import Gpt
from actbench.nn.heads import Pooler
from actbench.nn.init import initialize
from actbench.nn.width import GELU, flops, widths


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
    """Every activation in the model by its slot: "layers.0", ..., "pooler"."""
    return {slot: module for slot, (module, _) in _slots(model).items()}


def slot_widths(model: nn.Module) -> dict[str, int]:
    """The width that the activation of every slot sees."""
    return {slot: linear.out_features for slot, (_, linear) in _slots(model).items()}


def activation_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The learnable coefficients of all activations."""
    return {parameter for activation in activation_slots(model).values() for parameter in activation.parameters()}


def size(config: BertSection | GptSection, vocab_size: int, length: int) -> dict[str, Any]:
    """Parameters and FLOPs, and their ratio to the same model with GELU, without allocating weights.

    `flops_per_token` counts matrix products, forward and backward. The blocks' ratio counts, forward, what an
    activation costs as well.
    """
    model = _on_meta(config, vocab_size, length)
    plain = config.model_copy(update={"activation": GELU, "activation_overrides": ()})
    parameters, of_gelu = _parameters(model), _parameters(_on_meta(plain, vocab_size, length))
    wide = [width for slot, width in slot_widths(model).items() if slot != POOLER]
    return {
        "parameters": parameters,
        "activation_parameters": sum(p.numel() for p in activation_parameters(model)),
        "d_ff": wide[0] if len(set(wide)) == 1 else wide,
        "parameters_ratio_to_gelu": parameters / of_gelu,
        "flops_per_token": _flops_per_token(model, config, length),
        "ffn_flops_ratio_to_gelu": _ffn_flops(config) / _ffn_flops(plain),
    }


def _slots(model: nn.Module) -> dict[str, tuple[Activation, nn.Linear]]:
    """The activation of every slot, and the layer before it."""
    slots = {}
    for name, module in model.named_modules():
        if isinstance(module, FeedForward | Pooler):
            slot = name.removeprefix("encoder.").removesuffix(".feed_forward")
            slots[slot] = (module.activation, module.up if isinstance(module, FeedForward) else module.dense)
    return slots


def _on_meta(config: BertSection | GptSection, vocab_size: int, length: int) -> Bert | Gpt:
    with torch.device("meta"):
        return skeleton(config, vocab_size, length)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _flops_per_token(model: nn.Module, config: BertSection | GptSection, length: int) -> float:
    """Forward and backward: 6 a matrix weight and 12 T D a layer for attention (Chowdhery et al. 2022, appendix B).

    BERT's head, and all of its last block but queries, keys and values, work at masked positions only; its pooler has
    no part in pre-training.
    """
    attention = 12.0 * length * config.d_model
    if not isinstance(config, BertSection):
        return config.n_layers * attention + 6.0 * sum(weights.numel() for weights in _matrices(model).values())
    last = f"layers.{config.n_layers - 1}."
    flops = (config.n_layers - 1 + config.mask_fraction) * attention
    for name, weights in _matrices(model).items():
        if not name.startswith("pooler"):
            masked_only = name.startswith(("head", last)) and not name.endswith("attention.qkv")
            flops += 6.0 * weights.numel() * (config.mask_fraction if masked_only else 1.0)
    return flops


def _matrices(model: nn.Module) -> dict[str, Tensor]:
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def _ffn_flops(config: BertSection | GptSection) -> float:
    """Of all feed-forward blocks for a token, forward, their activations' own included."""
    wide = widths(config)
    return sum(flops(config, spec, wide[slot]) for slot, spec in placement(config).items() if slot != POOLER)
