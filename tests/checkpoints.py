"""Small checkpoints of BERT and RoBERTa as Hugging Face's library writes them, for tests of models that came ready."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from actbench.evaluation.load import load
from actbench.nn.bert import Bert
from actbench.store import Run
from actbench.training.import_model import import_model
from actbench.training.known_model import known_recipe, plan_import

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "of", "and", "to", "in", "is", "that", "for", "with", "as", "##ing", "##ed", "##er"),
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
]
LENGTH = 48
# RoBERTa's special tokens, bytes, merged bytes, and GPT-2's end of text, which its own vocabulary has as well.
MERGES = ["t h", "th e", "\u0120 the", "\u0120 h", "o u", "\u0120 a", "i n", "in g", "e r"]
PIECES = [
    *("<s>", "<pad>", "</s>", "<unk>"),
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *(merge.replace(" ", "") for merge in MERGES),
    *("<|endoftext|>", "<mask>"),
]
PAD = PIECES.index("<pad>")
README = "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- tiny\n---\n\n# A tiny BERT\n"


def reference(seed: int = 0, **changes: Any) -> Any:
    """A BertForPreTraining of random weights, biases and norms included, in evaluation mode."""
    from transformers import BertConfig, BertForPreTraining

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=LENGTH, **{**sizes, **changes})
    return _randomized(BertForPreTraining(config), seed)


def roberta(seed: int = 0, *, kind: str = "RobertaForMaskedLM", **changes: Any) -> Any:
    """A RobertaForMaskedLM, or RobertaModel, of random weights for LENGTH tokens, in evaluation mode."""
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    own = {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": PAD, **sizes, **changes}
    rows = LENGTH + own["pad_token_id"] + 1
    config = transformers.RobertaConfig(vocab_size=len(PIECES), max_position_embeddings=rows, **own)
    return _randomized(getattr(transformers, kind)(config), seed)


def _randomized(model: Any, seed: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.2 * noise + (0.5 if parameter.ndim < 2 else 0.0))
    return model.eval()


def save(model: Any, folder: Path, **config: Any) -> Path:
    """The model's folder as the library writes it, with BERT's vocab.txt; `config` changes its config.json."""
    _save(model, folder, config)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def save_roberta(model: Any, folder: Path, *, one_file: bool = True, **config: Any) -> Path:
    """The same with RoBERTa's tokenizer: as the library writes it, or in the two files of GPT-2's."""
    _save(model, folder, config)
    if one_file:
        reference_tokenizer().save_pretrained(folder)
    else:
        (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(PIECES)}))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return folder


def reference_tokenizer() -> Any:
    """The library's RobertaTokenizer of PIECES."""
    from transformers import RobertaTokenizer

    vocabulary = {piece: i for i, piece in enumerate(PIECES)}
    return RobertaTokenizer(vocab=vocabulary, merges=[tuple(merge.split()) for merge in MERGES])


def _save(model: Any, folder: Path, config: dict[str, Any]) -> None:
    model.save_pretrained(folder)
    (folder / "README.md").write_text(README, encoding="utf-8")
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))


def take(source: Path, *changes: str, said: list[str] | None = None) -> Run:
    """The checkpoint as a run, beside its folder; `said` receives what the user is told."""
    runs = source.parent / "runs"
    return import_model(plan_import(known_recipe(str(source), changes), runs), ([] if said is None else said).append)


def model_of(run: Run) -> Bert:
    """Its model, in evaluation mode."""
    model = load(run)
    assert isinstance(model, Bert)
    return model.eval()
