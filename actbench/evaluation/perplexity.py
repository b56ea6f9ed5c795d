"""Perplexity of a finished run on its held-out documents or on any text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from actbench.config.schema import FilesCorpus
from actbench.data.batches import fixed_batches
from actbench.data.packing import open_source, pack_texts, prepare
from actbench.data.sequences import cut
from actbench.errors import BadInput, Problem
from actbench.evaluation.likelihood import likelihood
from actbench.evaluation.load import load, recipe_of
from actbench.store import Run


def perplexity(run: Run, files: list[str] | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Loss in nats a scored token and its exponential, over all of the text, as JSON data.

    A masked model is scored at the masked positions (15 %, the same for every run), so its perplexity is no
    causal model's. `bits_per_byte` compares causal models across tokenizers; for masked ones it is None.
    Computed in fp32, so that it does not depend on the batch size or the machine's low precision.
    """
    recipe, model = recipe_of(run), load(run)
    if files:
        source = open_source(FilesCorpus(source="files", files=files), say)
        texts = list(source.read())
        tokens, size = pack_texts(run.folder / "tokenizer.json", texts), sum(len(text.encode()) for text in texts)
        name = ", ".join(files)
    else:
        data = prepare(recipe.corpus, recipe.tokenizer, recipe.validation.fraction, say)
        if data.hash != run.info["data"]["hash"]:
            raise BadInput(
                Problem(f"the corpus of {run.id} has changed since it was trained", hint="name the text with --corpus")
            )
        tokens, size, name = data.validation, data.facts["splits"]["validation"]["bytes"], "held-out documents"
    sequences = cut(recipe, run.folder / "tokenizer.json", np.asarray(tokens))
    if len(sequences) == 0:
        raise BadInput(Problem(f"{name}: shorter than one sequence of {recipe.batch.length} tokens"))
    model.to("cuda" if torch.cuda.is_available() and recipe.hardware.device != "cpu" else "cpu")
    result = likelihood(model, fixed_batches(sequences, 32))
    causal = recipe.model.family == "gpt"
    return {
        "run": run.id,
        "text": name,
        "loss": result.loss,
        "perplexity": result.perplexity,
        "scored_tokens": result.tokens,
        "text_tokens": len(tokens),
        "bits_per_byte": result.loss / math.log(2) * len(tokens) / size if causal else None,
    }
