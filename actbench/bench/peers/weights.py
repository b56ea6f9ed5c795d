"""GPT-2's weights under the names that Hugging Face gives them, so that both sides start from the same."""

from __future__ import annotations

from torch import nn

from actbench.nn.gpt import Gpt
from actbench.nn.hugging_face import Weights, renamed

# Modules by our name and theirs; of a layer, below the layer.
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


def gpt2(model: Gpt) -> Weights:
    """A decoder in GPT-2's layout, whose linear layers keep their weights transposed."""
    own = model.state_dict()
    weights = renamed(own, GPT2)
    for number in range(len(model.layers)):
        layer = renamed(own, GPT2_LAYER, f"layers.{number}.", f"transformer.h.{number}.")
        weights |= {name: weight.T if weight.ndim == 2 else weight for name, weight in layer.items()}
    return weights


def give(model: nn.Module, weights: Weights, *, new: tuple[str, ...] = ()) -> None:
    """Copies the weights into `model`: all of its own but those whose names begin with one of `new`.

    Weights that the model has no place for, such as another head's, are left out. Raises KeyError for one that is
    missing.
    """
    wanted = [name for name in model.state_dict() if not name.startswith(new)]
    model.load_state_dict({name: weights[name] for name in wanted}, strict=not new)
