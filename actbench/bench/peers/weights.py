"""actbench's weights under the names that Hugging Face's models give them, so that both sides start from the same."""

from __future__ import annotations

from torch import Tensor, nn

from actbench.nn.bert import Bert
from actbench.nn.gpt import Gpt

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
GPT2 = {
    "tokens": "transformer.wte",
    "positions": "transformer.wpe",
    "final_norm": "transformer.ln_f",
    "head.decoder": "lm_head",
}
GPT2_LAYER = {
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def bert(model: Bert) -> Weights:
    """The encoder with its pooler and its head for masked tokens."""
    own = model.state_dict()
    weights = _renamed(own, BERT)
    weights["cls.predictions.bias"] = own["head.decoder.bias"]
    for number in range(len(model.layers)):
        place = f"bert.encoder.layer.{number}"
        weights |= _renamed(own, BERT_LAYER, f"layers.{number}.", f"{place}.")
        for part in ("weight", "bias"):
            joined = own[f"layers.{number}.attention.qkv.{part}"]
            for name, one in zip(("query", "key", "value"), joined.chunk(3), strict=True):
                weights[f"{place}.attention.self.{name}.{part}"] = one
    return weights


def gpt2(model: Gpt) -> Weights:
    """A decoder in GPT-2's layout, whose linear layers keep their weights transposed."""
    own = model.state_dict()
    weights = _renamed(own, GPT2)
    for number in range(len(model.layers)):
        layer = _renamed(own, GPT2_LAYER, f"layers.{number}.", f"transformer.h.{number}.")
        weights |= {name: weight.T if weight.ndim == 2 else weight for name, weight in layer.items()}
    return weights


def give(model: nn.Module, weights: Weights, *, new: tuple[str, ...] = ()) -> None:
    """Copies the weights into `model`: all of its own but those whose names begin with one of `new`.

    Weights that the model has no place for, such as another head's, are left out. Raises KeyError for one that is
    missing.
    """
    wanted = [name for name in model.state_dict() if not name.startswith(new)]
    model.load_state_dict({name: weights[name] for name in wanted}, strict=not new)


def _renamed(own: Weights, names: dict[str, str], place: str = "", new_place: str = "") -> Weights:
    return {
        f"{new_place}{theirs}.{part}": own[f"{place}{ours}.{part}"]
        for ours, theirs in names.items()
        for part in ("weight", "bias")
        if f"{place}{ours}.{part}" in own
    }
