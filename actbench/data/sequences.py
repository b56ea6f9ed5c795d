"""A recipe's tokens as training and validation sequences of its model's kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actbench.config.schema import Recipe
from actbench.data.batches import CausalSequences, MaskedSequences, Sequences
from actbench.data.masking import Masking
from actbench.data.packing import TokenData
from actbench.data.tokenizer import load, special_tokens
from actbench.errors import BadInput, Problem


@dataclass(frozen=True)
class Split:
    """The two sides of the held-out split."""

    train: Sequences
    validation: Sequences


def sequences_for(recipe: Recipe, tokens: TokenData) -> Split:
    """Both splits, cut as the recipe says. Raises BadInput when the tokenizer or the held-out text does not do."""
    split = Split(
        cut(recipe, tokens.tokenizer_file, tokens.train),
        cut(recipe, tokens.tokenizer_file, tokens.validation),
    )
    if len(split.validation) == 0:
        raise BadInput(Problem("the held-out text is shorter than one sequence", hint="raise validation.fraction"))
    return split


def cut(recipe: Recipe, tokenizer_file: Path, tokens: np.ndarray) -> Sequences:
    """Packed tokens (1-D) as sequences: masked for BERT, causal for GPT."""
    length = recipe.batch.length
    if recipe.model.family == "gpt":
        return CausalSequences(tokens, length)
    tokenizer = load(tokenizer_file)
    special = special_tokens(tokenizer)
    if special.cls is None or special.sep is None or special.mask is None:
        raise BadInput(
            Problem("a BERT needs a tokenizer with [CLS], [SEP] and [MASK]", hint="tokenizer.kind: wordpiece")
        )
    masking = Masking(recipe.model.mask_fraction, special.mask, tokenizer.get_vocab_size())
    return MaskedSequences(tokens, length, special.cls, special.sep, masking)
