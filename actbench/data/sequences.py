"""A recipe's tokens as training and validation sequences of its model's kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actbench.config.schema import Recipe
from actbench.data.batches import CausalSequences, JoinedSequences, MaskedSequences, Sequences
from actbench.data.masking import Masking
from actbench.data.mixture import Mixed, without_repeats
from actbench.data.packing import TokenData
from actbench.data.tokenizer import load, special_tokens
from actbench.errors import BadInput, Problem


@dataclass(frozen=True)
class Split:
    """The two sides of the held-out split; `order` is that of a mixture's training sequences."""

    train: Sequences
    validation: Sequences
    order: Mixed | None = None


def sequences_for(recipe: Recipe, tokens: TokenData) -> Split:
    """Both splits, cut as the recipe says. Raises BadInput when the tokenizer or the held-out text does not do."""
    if "parts" in tokens.facts:
        return _mixture(recipe, tokens)
    split = Split(
        cut(recipe, tokens.tokenizer_file, tokens.train),
        cut(recipe, tokens.tokenizer_file, tokens.validation),
    )
    if len(split.validation) == 0:
        raise BadInput(Problem("the held-out text is shorter than one sequence", hint="raise validation.fraction"))
    return split


def _mixture(recipe: Recipe, tokens: TokenData) -> Split:
    """Held out is the largest mixture by weight in which no sequence comes twice."""
    weights = [part["weight"] for part in tokens.facts["parts"]]
    train, validation = (
        [cut(recipe, tokens.tokenizer_file, part) for part in _by_part(tokens, split, packed)]
        for split, packed in (("train", tokens.train), ("validation", tokens.validation))
    )
    held_out = JoinedSequences(validation, without_repeats([len(part) for part in validation], weights))
    return Split(JoinedSequences(train), held_out, Mixed([len(part) for part in train], weights, recipe.seed))


def _by_part(tokens: TokenData, split: str, packed: np.ndarray) -> list[np.ndarray]:
    counts = [part["splits"][split]["tokens"] for part in tokens.facts["parts"]]
    return np.split(packed, np.cumsum(counts)[:-1])


def cut(recipe: Recipe, tokenizer_file: Path, tokens: np.ndarray) -> Sequences:
    """Packed tokens (1-D) as sequences: masked for BERT, causal for GPT."""
    length = recipe.batch.length
    if recipe.model.family == "gpt" and not recipe.batch.separate_documents:
        return CausalSequences(tokens, length)
    tokenizer = load(tokenizer_file)
    special = special_tokens(tokenizer)
    if recipe.model.family == "gpt":
        if special.end_of_text is None:
            what = "only a tokenizer with an end-of-text token keeps documents apart"
            raise BadInput(Problem(what, key="batch.separate_documents", hint="tokenizer.kind: byte_bpe"))
        return CausalSequences(tokens, length, special.end_of_text)
    if special.cls is None or special.sep is None or special.mask is None:
        raise BadInput(
            Problem("a BERT needs a tokenizer with [CLS], [SEP] and [MASK]", hint="tokenizer.kind: wordpiece")
        )
    masking = Masking(recipe.model.mask_fraction, special.mask, tokenizer.get_vocab_size())
    return MaskedSequences(tokens, length, special.cls, special.sep, masking)
