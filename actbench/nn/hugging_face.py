"""BERT under the names that Hugging Face's models give its parts: our weights as theirs, theirs as ours.

A checkpoint's config.json decides the recipe's model section. What our model cannot be is refused by its key.
RoBERTa is the same model: its parts have other names, its positions another beginning, and it has one type of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from actbench.errors import Problem
from actbench.nn.bert import Bert

Weights = dict[str, Tensor]

# Modules by our name and theirs; of a layer, below the layer.
BERT = {
    "tokens": "bert.embeddings.word_embeddings",
    "positions": "bert.embeddings.position_embeddings",
    "segments": "bert.embeddings.token_type_embeddings",
    "norm": "bert.embeddings.LayerNorm",
    "pooler.dense": "bert.pooler.dense",
    "head.transform": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
BERT_LAYER = {
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
ATTENTION = ("query", "key", "value")  # one matrix of ours
# How a name begins in RoBERTa's checkpoints, and the same part's in BERT's.
ROBERTA = {
    "roberta.": "bert.",
    "lm_head.dense.": "cls.predictions.transform.dense.",
    "lm_head.layer_norm.": "cls.predictions.transform.LayerNorm.",
    "lm_head.decoder.": "cls.predictions.decoder.",
    "lm_head.bias": "cls.predictions.bias",
}

GELUS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}  # config.json's hidden_act
REQUIRED = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "max_position_embeddings",
)
REAL = ("hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "initializer_range")
TOKEN_TYPES = {"bert": (2,), "roberta": (2, 1)}  # type_vocab_size by model_type
# What the library means where config.json leaves a key out, and the values that our model can be.
POSSIBLE: dict[str, tuple[Any, ...]] = {
    "hidden_act": tuple(GELUS),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "tie_word_embeddings": (True,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}


def config_problems(config: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """What in a config.json our BERT cannot be, a key a problem."""
    family = config.get("model_type")
    if family not in list(TOKEN_TYPES):
        message = f"{family!r} is not supported" if "model_type" in config else "missing"
        yield Problem(message, where, "model_type", _either(TOKEN_TYPES))
        return
    for key, possible in {**POSSIBLE, "type_vocab_size": TOKEN_TYPES[family]}.items():
        value = config.get(key, possible[0])
        if value not in possible:
            yield Problem(f"{value!r} is not supported", where, key, _either(possible))
    for key in REQUIRED:
        if type(config.get(key)) is not int or config[key] < 1:
            yield Problem(f"expected a positive number, not {config.get(key)!r}", where, key)
    if family == "roberta" and (type(pad := _padding_token(config)) is not int or pad < 0):
        yield Problem(f"expected the number of a token, not {pad!r}", where, "pad_token_id")
    for key in REAL:
        if type(value := config.get(key, 0.0)) not in (int, float):
            yield Problem(f"expected a number, not {value!r}", where, key)
    rates = {key: config.get(key, 0.1) for key in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    rates["classifier_dropout"] = config.get("classifier_dropout") or rates["hidden_dropout_prob"]
    if len(set(rates.values())) > 1:
        told = ", ".join(f"{key} {value}" for key, value in rates.items())
        yield Problem(f"different dropout rates are not supported: {told}", where, "hidden_dropout_prob")


def first_position(config: Mapping[str, Any]) -> int:
    """Which row of a checkpoint's positions is the first token's: RoBERTa counts on from its padding token."""
    return int(_padding_token(config)) + 1 if config["model_type"] == "roberta" else 0


def model_section(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's model section of a config.json without problems."""
    gelu = GELUS[config.get("hidden_act", "gelu")]
    return {
        "family": "bert",
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "n_heads": config["num_attention_heads"],
        "d_ff": config["intermediate_size"],
        "dropout": float(config.get("hidden_dropout_prob", 0.1)),
        "norm_placement": "post",
        "norm_eps": float(config.get("layer_norm_eps", 1e-12)),
        "activation": {"name": "gelu"} if gelu == "erf" else {"name": "gelu", "approximate": "tanh"},
        "ffn_width": "fixed",
        "init_std": float(config.get("initializer_range", 0.02)),
        "head_gelu": "erf" if config["model_type"] == "roberta" else gelu,
    }


def bert(model: Bert) -> Weights:
    """Our encoder with its pooler and its head for masked tokens, as theirs."""
    own = model.state_dict()
    weights = renamed(own, BERT)
    weights["cls.predictions.bias"] = own["head.decoder.bias"]
    for number in range(len(model.layers)):
        place = f"bert.encoder.layer.{number}"
        weights |= renamed(own, BERT_LAYER, f"layers.{number}.", f"{place}.")
        for part in ("weight", "bias"):
            joined = own[f"layers.{number}.attention.qkv.{part}"]
            for name, one in zip(ATTENTION, joined.chunk(3), strict=True):
                weights[f"{place}.attention.self.{name}.{part}"] = one
    return weights


def from_bert(theirs: Weights, n_layers: int, first_row: int = 0) -> Weights:
    """Their weights, BERT's or RoBERTa's, as ours, in fp32; parts that a checkpoint lacks are lacking.

    A bare encoder's names may come without `bert.`; the oldest checkpoints call a norm's parts gamma and beta.
    Positions before `first_row` are left out. Where there is one type of tokens, both of ours are that.
    """
    found = {_modern(name): tensor.float() for name, tensor in theirs.items()}
    found.setdefault("cls.predictions.decoder.bias", found.get("cls.predictions.bias", torch.empty(0)))
    back = {theirs: ours for ours, theirs in BERT.items()}
    ours = renamed(found, back)
    ours["head.decoder.weight"] = ours.get("head.decoder.weight", ours.get("tokens.weight", torch.empty(0)))
    if "positions.weight" in ours:
        ours["positions.weight"] = ours["positions.weight"][first_row:]
    if len(segments := ours.get("segments.weight", torch.empty(0))) == 1:
        ours["segments.weight"] = segments.repeat(2, 1)
    inner = {theirs: ours for ours, theirs in BERT_LAYER.items()}
    for number in range(n_layers):
        place = f"bert.encoder.layer.{number}."
        ours |= renamed(found, inner, place, f"layers.{number}.")
        for part in ("weight", "bias"):
            parts = [found.get(f"{place}attention.self.{name}.{part}") for name in ATTENTION]
            whole = [one for one in parts if one is not None]
            if len(whole) == len(ATTENTION):
                ours[f"layers.{number}.attention.qkv.{part}"] = torch.cat(whole)
    return {name: tensor for name, tensor in ours.items() if tensor.numel()}


def renamed(own: Weights, names: Mapping[str, str], place: str = "", new_place: str = "") -> Weights:
    """The weights and biases of the modules `names`, below `place`, under their new names below `new_place`."""
    return {
        f"{new_place}{new}.{part}": own[f"{place}{old}.{part}"]
        for old, new in names.items()
        for part in ("weight", "bias")
        if f"{place}{old}.{part}" in own
    }


def _either(possible: Iterable[Any]) -> str:
    return f"supported: {' or '.join(repr(one) for one in possible)}"


def _padding_token(config: Mapping[str, Any]) -> Any:
    return config.get("pad_token_id", 1)  # as RobertaConfig


def _modern(name: str) -> str:
    for roberta, bert in ROBERTA.items():
        if name.startswith(roberta):
            name = bert + name.removeprefix(roberta)
    if name.startswith(("embeddings.", "encoder.", "pooler.")):
        name = f"bert.{name}"
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
