"""Initial weights, each tensor drawn from a generator keyed by (seed, its name).

So a pair of models that differ in one place agree, bit for bit, in every tensor that both have.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from actbench.config.placement import placement
from actbench.config.schema import BertSection, GptSection
from actbench.nn.grouped import ExpertLinear

FFN_IN = (".feed_forward.up", ".feed_forward.gate")
# RAFT's released code (Fang et al. 2023, UKPLab/2022-RAFT): its branch with rational functions, and the one without.
RELEASED_STD = {"raf": 0.0073}
RELEASED_STD_ELSE = 0.0208

RESIDUAL_OUTPUTS = (".attention.output", ".feed_forward.down")


@torch.no_grad()
def initialize(model: nn.Module, config: BertSection | GptSection, seed: int) -> None:
    """Fills the weights of every linear layer and embedding; biases become zero, norms and activations stay.

    post and pre encoders: normal(init_std), as BERT. Decoders: the same, residual outputs divided by sqrt(2N), as
    GPT-2 and PolyCom, unless `init_outputs` says otherwise; every expert's weights have a name of their own. deepnet:
    Xavier with DeepNet's gain (8N)^(-1/4) on values, outputs and feed-forward. A BERT's `ffn_in_std` says otherwise for
    the weights into its blocks.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            _normal(module.weight, _std(config), f"{name}.weight", seed)
        elif isinstance(module, nn.Linear) and not _tied(module, model):
            _linear(name, module, config, seed)
        elif isinstance(module, ExpertLinear):
            for expert, weight in enumerate(module.weight):
                _normal(weight, _linear_std(name, config), f"{name}.weight.{expert}", seed)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()


def initialize_head(head: nn.Module, config: BertSection, seed: int) -> None:
    """The same for the new head of a fine-tuning: normal(init_std), keyed by its seed."""
    initialize(head, config.model_copy(update={"norm_placement": "post"}), seed)


def _linear(name: str, module: nn.Linear, config: BertSection | GptSection, seed: int) -> None:
    weight, key = module.weight, f"{name}.weight"
    if isinstance(config, BertSection) and config.ffn_in_std != "matched" and name.endswith(FFN_IN):
        _normal(weight, _ffn_in_std(name, config), key, seed)
        return
    if isinstance(config, BertSection) and config.norm_placement == "deepnet" and name.startswith("layers."):
        _deepnet(name, weight, config.n_layers, key, seed)
        return
    _normal(weight, _linear_std(name, config), key, seed)


def _linear_std(name: str, config: BertSection | GptSection) -> float:
    """Of a linear layer: smaller in a decoder where a residual path begins."""
    scaled = isinstance(config, GptSection) and config.init_outputs == "scaled" and name.endswith(RESIDUAL_OUTPUTS)
    return _std(config) / math.sqrt(2 * config.n_layers) if scaled else _std(config)


def _deepnet(name: str, weight: Tensor, n_layers: int, key: str, seed: int) -> None:
    gain = (8 * n_layers) ** -0.25
    if not name.endswith(".qkv"):
        _normal(weight, _xavier(weight) * gain, key, seed)
        return
    q, k, v = weight.chunk(3)
    for part, tensor, part_gain in (("q", q, 1.0), ("k", k, 1.0), ("v", v, gain)):
        _normal(tensor, _xavier(tensor) * part_gain, f"{key}.{part}", seed)


def _normal(tensor: Tensor, std: float, key: str, seed: int) -> None:
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    tensor.copy_(torch.empty(tensor.shape).normal_(0.0, std, generator=generator))


def _std(config: BertSection | GptSection) -> float:
    return math.sqrt(2 / (5 * config.d_model)) if config.init_std == "small" else config.init_std


def _ffn_in_std(name: str, config: BertSection) -> float:
    if isinstance(config.ffn_in_std, float):
        return config.ffn_in_std
    return RELEASED_STD.get(placement(config)[name.rsplit(".", 2)[0]].name, RELEASED_STD_ELSE)


def _xavier(weight: Tensor) -> float:
    return math.sqrt(2 / (weight.shape[0] + weight.shape[1]))


def _tied(module: nn.Linear, model: nn.Module) -> bool:
    return module.weight is getattr(getattr(model, "tokens", None), "weight", None)
