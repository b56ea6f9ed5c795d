"""Perplexity of a finished run on its held-out documents or on any text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from actbench.config.corpus import FilesCorpus
from actbench.config.schema import Recipe
from actbench.data.batches import Sequences, fixed_batches
from actbench.data.packing import open_source, pack_texts, prepare
from actbench.data.sequences import cut
from actbench.errors import BadInput, Problem, RunFailed
from actbench.evaluation.likelihood import likelihood
from actbench.evaluation.load import device_of, load, recipe_of
from actbench.evaluation.plan import HELD_OUT, EvaluationPlan
from actbench.store import Run, RunWriter, claim, environment

Say = Callable[[str], None]


def evaluate(planned: EvaluationPlan, say: Say) -> Run:
    """Measures what is planned and keeps it as a run, or finds it measured.

    Raises RunFailed when the loss is not a number, BadInput when the text cannot be used.
    """
    if planned.run.manifest is not None:
        return planned.run
    recipe = recipe_of(planned.parent)
    device = device_of(recipe)
    began = time.perf_counter()
    found = measure(planned, recipe, device, say)
    with claim(planned.folder) as writer:
        if planned.run.manifest is not None:  # another process has finished it meanwhile
            return planned.run
        if not math.isfinite(found["loss"]):
            writer.fail("the loss is not finite")
            raise RunFailed(f"{planned.folder.name}: the loss is not finite")
        _describe(planned, writer, device)
        headline = {"metric": "perplexity", "value": found["perplexity"]}
        return writer.commit({**found, "headline": headline, "seconds": round(time.perf_counter() - began, 3)})


def measure(planned: EvaluationPlan, recipe: Recipe, device: str, say: Say) -> dict[str, Any]:
    """Loss in nats a scored token and its exponential, over all of the text, as JSON data.

    A masked model is scored at the masked positions (15 %, the same for every run), so its perplexity is no
    causal model's. `bits_per_byte` and, of named texts, `word_perplexity` (a word is what stands between spaces)
    compare causal models across tokenizers; for masked ones they are None.
    Computed in fp32, so that it does not depend on the batch size or the machine's low precision.
    """
    model = load(planned.parent)
    sequences, n_tokens, n_bytes, words = text_sequences(planned.parent, planned.files, recipe, say)
    result = likelihood(model.to(device), fixed_batches(sequences, 32))
    causal = recipe.model.family == "gpt"
    nats = result.loss * n_tokens
    by_word = math.exp(nats / words) if causal and words and nats / words < 700 else None
    return {
        "text": planned.text,
        "loss": result.loss,
        "perplexity": result.perplexity if math.isfinite(result.perplexity) else None,
        "scored_tokens": result.tokens,
        "text_tokens": n_tokens,
        "bits_per_byte": nats / math.log(2) / n_bytes if causal else None,
        "word_perplexity": by_word,
    }


def text_sequences(
    parent: Run, files: tuple[str, ...] | None, recipe: Recipe, say: Say
) -> tuple[Sequences, int, int, int | None]:
    """Files, or None for the run's held-out documents, as sequences; how many tokens, bytes and words the text has.

    Words of held-out documents are not counted. Raises BadInput for a text shorter than one sequence, and for held-out
    documents that are no longer the run's.
    """
    tokens, n_bytes, words = _tokens(parent, files, recipe, say)
    sequences = cut(recipe, parent.folder / "tokenizer.json", np.asarray(tokens))
    if len(sequences) == 0:
        text = ", ".join(files) if files else HELD_OUT
        raise BadInput(Problem(f"{text}: shorter than one sequence of {recipe.batch.length} tokens"))
    return sequences, len(tokens), n_bytes, words


def _tokens(parent: Run, files: tuple[str, ...] | None, recipe: Recipe, say: Say) -> tuple[np.ndarray, int, int | None]:
    """The text's tokens, and its size in bytes and in words."""
    if files:
        texts = list(open_source(FilesCorpus(source="files", files=list(files)), say).read())
        sizes = (sum(len(text.encode()) for text in texts), sum(len(text.split()) for text in texts))
        return pack_texts(parent.folder / "tokenizer.json", texts, ends=not parent.imported), *sizes
    data = prepare(recipe.corpus, recipe.tokenizer, recipe.validation.fraction, say)
    if data.hash != parent.info["data"]["hash"]:
        raise BadInput(
            Problem(f"the corpus of {parent.id} has changed since it was trained", hint="name the text with --corpus")
        )
    return data.validation, data.facts["splits"]["validation"]["bytes"], None


def _describe(planned: EvaluationPlan, writer: RunWriter, device: str) -> None:
    parent = planned.parent.info
    hardware = {"device": device, "precision": "fp32", "compiled": False, "threads": torch.get_num_threads()}
    writer.describe(
        {
            "kind": "evaluate",
            "parent": planned.parent.id,
            "recipe": parent["recipe"],
            "code": parent["code"],
            "model": parent["model"],
            "data": {"hash": planned.data_hash, "text": planned.text},
            "hardware": hardware,
            "environment": environment(),
        }
    )
