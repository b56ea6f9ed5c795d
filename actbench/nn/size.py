"""How large a model is and what it costs, counted from its section alone: nothing is built.

Shapes: T time, D model width, K width of all keys' heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from actbench.config.placement import POOLER, placement
from actbench.config.schema import ActivationSpec, BertSection, GptSection
from actbench.nn.width import (
    GELU,
    biases,
    coefficients,
    experts_of,
    flops,
    has_biases,
    matrix_weights,
    widths,
)


class Blocks(NamedTuple):
    """Feed-forward blocks that are alike: their activation, their width, and in how many layers they are."""

    spec: ActivationSpec
    width: int
    layers: int


def size(config: BertSection | GptSection, vocab_size: int, length: int) -> dict[str, Any]:
    """Parameters and FLOPs as JSON data, and their ratio to the same model with GELU.

    `non_embedding_parameters` are all but those whose number grows with the vocabulary or the length. With experts,
    `active_parameters` are those that one token meets. `flops_per_token` counts matrix products, forward and backward.
    The blocks' ratio counts, forward, what an activation costs as well. Raises BadInput when an activation cannot have
    its width.
    """
    plain = config.model_copy(update={"activation": GELU, "activation_overrides": ()})
    parameters = count_parameters(config, vocab_size, length)
    wide = [width for slot, width in widths(config).items() if slot != POOLER]
    active = {"active_parameters": count_parameters(config, vocab_size, length, active=True)}
    return {
        "parameters": parameters,
        **(active if experts_of(config) else {}),
        "non_embedding_parameters": parameters - _growing(config, vocab_size, length),
        "activation_parameters": _activation_parameters(config),
        "d_ff": wide[0] if len(set(wide)) == 1 else wide,
        "parameters_ratio_to_gelu": parameters / count_parameters(plain, vocab_size, length),
        "flops_per_token": _flops_per_token(config, vocab_size, length),
        "ffn_flops_ratio_to_gelu": _ffn_flops(config) / _ffn_flops(plain),
    }


def count_parameters(config: BertSection | GptSection, vocab_size: int, length: int, *, active: bool = False) -> int:
    """All parameters; of experts, if `active`, only as many as one token meets."""
    total = _growing(config, vocab_size, length) + _apart(config) + config.n_layers * _attention(config)
    for spec, width, layers in _blocks(config):
        block = matrix_weights(config, spec, width, active=active) + biases(config, spec, width)
        total += layers * (block + coefficients(config, spec, width, active=active))
    return total


def _growing(config: BertSection | GptSection, vocab_size: int, length: int) -> int:
    """What grows with the vocabulary or the length: embeddings, and what turns hidden states into logits."""
    D = config.d_model
    if isinstance(config, BertSection):
        return (vocab_size + length) * D + vocab_size  # the decoder is tied; its bias is not
    positions = length * D if config.layout == "gpt2" else 0
    return vocab_size * D * (1 if config.tie_embeddings else 2) + positions


def _apart(config: BertSection | GptSection) -> int:
    """What is neither in a layer nor grows with the vocabulary or the length."""
    D = config.d_model
    if not isinstance(config, BertSection):
        return _norm(config)
    dense = D * D + D  # the pooler's, and the head's
    final_norm = _norm(config) if config.norm_placement == "pre" else 0
    pooler = dense + coefficients(config, placement(config)[POOLER], D)
    return 2 * D + _norm(config) + final_norm + pooler + dense + _norm(config)


def _attention(config: BertSection | GptSection) -> int:
    """A layer without its feed-forward block: attention and both norms."""
    D, K = config.d_model, _keys_width(config)
    norms = 2 * _norm(config)
    if isinstance(config, GptSection) and config.qk_norm:
        norms += D + K
    bias = 2 * D + 2 * K if has_biases(config) else 0
    return sum(_attention_weights(config)) + bias + norms


def _attention_weights(config: BertSection | GptSection) -> tuple[int, int]:
    """Of the matrices for queries, keys and values, and of the output's."""
    D = config.d_model
    return D * (D + 2 * _keys_width(config)), D * D


def _keys_width(config: BertSection | GptSection) -> int:
    heads = config.n_kv_heads if isinstance(config, GptSection) else None
    return config.d_model // config.n_heads * (heads or config.n_heads)


def _norm(config: BertSection | GptSection) -> int:
    return config.d_model * (2 if has_biases(config) else 1)


def _activation_parameters(config: BertSection | GptSection) -> int:
    of_blocks = sum(layers * coefficients(config, spec, width) for spec, width, layers in _blocks(config))
    pooler = placement(config).get(POOLER)
    return of_blocks + (coefficients(config, pooler, config.d_model) if pooler else 0)


def _flops_per_token(config: BertSection | GptSection, vocab_size: int, length: int) -> float:
    """Forward and backward: 6 a matrix weight and 12 T D a layer for attention (Chowdhery et al. 2022, appendix B).

    Of experts, those count that one token meets. BERT's head, and all of its last block but queries, keys and values,
    work at masked positions only; its pooler has no part in pre-training.
    """
    D, (qkv, output) = config.d_model, _attention_weights(config)
    inner = sum(layers * matrix_weights(config, spec, width, active=True) for spec, width, layers in _blocks(config))
    if not isinstance(config, BertSection):
        layers = config.n_layers * (12.0 * length * D + 6.0 * (qkv + output))
        return layers + 6.0 * (inner + vocab_size * D)
    slot, rare = f"layers.{config.n_layers - 1}", config.mask_fraction
    last = matrix_weights(config, placement(config)[slot], widths(config)[slot])
    everywhere = config.n_layers * qkv + (config.n_layers - 1) * output + inner - last
    masked = output + last + D * D + vocab_size * D
    return (config.n_layers - 1 + rare) * 12.0 * length * D + 6.0 * (everywhere + rare * masked)


def _ffn_flops(config: BertSection | GptSection) -> float:
    """Of all feed-forward blocks for a token, forward, their activations' own included."""
    return sum(layers * flops(config, spec, width) for spec, width, layers in _blocks(config))


def _blocks(config: BertSection | GptSection) -> Iterator[Blocks]:
    wide, placed = widths(config), placement(config)
    alike: dict[str, list[str]] = {}
    for slot, spec in placed.items():
        if slot != POOLER:
            alike.setdefault(spec.model_dump_json(), []).append(slot)
    for slots in alike.values():
        yield Blocks(placed[slots[0]], wide[slots[0]], len(slots))
