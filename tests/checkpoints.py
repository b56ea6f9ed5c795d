"""Small checkpoints of BERT as Hugging Face's library writes them, for the tests of models that came ready."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "of", "and", "to", "in", "is", "that", "for", "with", "as", "##ing", "##ed", "##er"),
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
]
LENGTH = 48
README = "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- tiny\n---\n\n# A tiny BERT\n"


def reference(seed: int = 0, **changes: Any) -> Any:
    """A BertForPreTraining of random weights, biases and norms included, in evaluation mode."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=LENGTH, **{**sizes, **changes})
    generator = torch.Generator().manual_seed(seed)
    model = BertForPreTraining(config)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.2 * noise + (0.5 if parameter.ndim < 2 else 0.0))
    return model.eval()


def save(model: Any, folder: Path, **config: Any) -> Path:
    """The model's folder as the library writes it, with BERT's vocab.txt; `config` changes its config.json."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(README, encoding="utf-8")
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder
