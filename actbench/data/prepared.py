"""All the tokens that a recipe needs, before any training: its corpus' and its validation sets'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actbench.config.corpus import FilesCorpus, HubCorpus, MixtureCorpus
from actbench.config.schema import Recipe
from actbench.data.packing import TokenData, prepare, prepare_text
from actbench.data.portions import Watch, portions
from actbench.errors import retold


@dataclass(frozen=True)
class ValidationSet:
    """A named text's tokens, 1-D and memory-mapped, and JSON data for the manifest with their `hash`."""

    tokens: np.ndarray
    facts: dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A recipe's tokens."""

    corpus: TokenData
    sets: dict[str, ValidationSet]


def prepare_recipe(recipe: Recipe, say: Callable[[str], None], jobs: int = 1, watch: Watch | None = None) -> Prepared:
    """Finds them in the cache or packs them now, by so many processes. Raises as `packing.prepare`."""
    for dataset in _unbounded(recipe):
        wanted = f"{recipe.total_steps * recipe.tokens_per_step:_}" if recipe.total_steps else "N"
        say(f"{dataset}: all of it is packed; max_tokens: {wanted} in its corpus section packs what the budget needs")
    texts = recipe.validation.sets
    for name, text in texts.items():
        if isinstance(text, FilesCorpus):  # that it is missing is told before the corpus takes its time
            with _names(name):
                portions(text, say)
    corpus = prepare(recipe.corpus, recipe.tokenizer, recipe.validation.fraction, say, jobs, watch)
    sets = {}
    for name, text in texts.items():
        with _names(name):
            sets[name] = ValidationSet(*prepare_text(text, corpus.tokenizer_file, say))
    return Prepared(corpus, sets)


def _names(name: str) -> AbstractContextManager[None]:
    """What is wrong with a text is told of the validation set that it is."""
    return retold(lambda problem: replace(problem, key=f"validation.sets.{name}"))


def _unbounded(recipe: Recipe) -> Iterator[str]:
    """Streamed data sets, which may be larger than any disk, without a bound."""
    for corpus in recipe.corpus.parts if isinstance(recipe.corpus, MixtureCorpus) else [recipe.corpus]:
        if isinstance(corpus, HubCorpus) and corpus.streaming and not (corpus.max_documents or corpus.max_tokens):
            yield corpus.dataset
