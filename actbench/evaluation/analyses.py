"""Analyses of a finished run's model, each kept as a run of its own: found by its content, never made twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from actbench.errors import BadInput, Problem, RunFailed
from actbench.evaluation.plan import HELD_OUT, check_pretrained, text_hash
from actbench.store import FINDINGS, Run, claim, environment, identity_hash
from actbench.store.atomic import write_json

if TYPE_CHECKING:
    from actbench.config import Recipe

Say = Callable[[str], None]
Analysis = Literal["rank", "similarity", "activity"]

SEQUENCES = 256  # of the text, unless told otherwise
BATCH_TOKENS = 8192  # at a time, or one sequence


@dataclass(frozen=True)
class AnalysisPlan:
    """One pre-trained run and what to find out: of its weights alone, or on `sequences` sequences of a text.

    `files` is None for the run's own held-out documents; `text_hash` stands for all of the text.
    """

    parent: Run
    analysis: Analysis
    files: tuple[str, ...] | None
    text_hash: str | None
    sequences: int
    folder: Path

    @property
    def run(self) -> Run:
        """The run this plan leads to, finished or not."""
        return Run(self.folder)

    @property
    def data_hash(self) -> str:
        """Of all that led to the findings: what the model learned from, and the text, where one is read."""
        learned = str(self.parent.info["data"]["hash"])
        return learned if self.text_hash is None else identity_hash({"parent": learned, "text": self.text_hash})

    @property
    def text(self) -> str | None:
        """What the text is called; None where none is read."""
        if self.analysis == "rank":
            return None
        return ", ".join(self.files) if self.files else HELD_OUT


def plan_analysis(
    parent: Run, analysis: Analysis, files: list[str] | None, runs: Path, sequences: int = SEQUENCES
) -> AnalysisPlan:
    """The plan to analyse a finished pre-training run. Raises BadInput when the run or a file cannot be used."""
    manifest = check_pretrained(parent, "analysed")
    if analysis == "rank" and files:
        raise BadInput(Problem("the rank is one of weights: no text is read", hint="leave the text out"))
    found = None if analysis == "rank" else text_hash(parent, files)
    weights = {"model.safetensors": manifest["files"]["model.safetensors"]}
    identity: dict[str, Any] = {"kind": "analyze", "analysis": analysis, "parent": weights}
    if found is not None:
        weights["tokenizer.json"] = manifest["files"]["tokenizer.json"]
        identity |= {"text": found, "held_out": not files, "sequences": sequences}
    folder = runs / f"{parent.id}-{analysis}-{identity_hash(identity)}"
    return AnalysisPlan(parent, analysis, tuple(files) if files else None, found, sequences, folder)


def analyze(planned: AnalysisPlan, say: Say) -> Run:
    """Finds out what is planned and keeps it as a run, or finds it kept.

    Raises BadInput when a text cannot be used, RunFailed when what is found is no number.
    """
    if planned.run.manifest is not None:
        return planned.run
    from actbench.evaluation.load import recipe_of

    recipe = recipe_of(planned.parent)
    began = time.perf_counter()
    device, found = _measure(planned, recipe, say)
    name, value = _headline(planned.analysis, found)
    if not math.isfinite(value):
        raise RunFailed(f"{planned.parent.id}: {name} is not finite")
    with claim(planned.folder) as writer:
        if planned.run.manifest is not None:  # another process has finished it meanwhile
            return planned.run
        writer.describe(_description(planned, device))
        write_json(writer.folder / FINDINGS, found)
        seconds = round(time.perf_counter() - began, 3)
        return writer.commit({"headline": {"metric": name, "value": value}, "seconds": seconds})


def _measure(planned: AnalysisPlan, recipe: Recipe, say: Say) -> tuple[str, dict[str, Any]]:
    """The device, and the findings as JSON data."""
    from actbench.data.batches import fixed_batches
    from actbench.evaluation.activity import activity
    from actbench.evaluation.load import device_of, load
    from actbench.evaluation.perplexity import text_sequences
    from actbench.evaluation.similarity import layer_similarity
    from actbench.evaluation.weight_rank import model_ranks

    device = device_of(recipe)
    model = load(planned.parent).to(device)
    if planned.analysis == "rank":
        return device, {"slots": model_ranks(model)}
    sequences, *_ = text_sequences(planned.parent, planned.files, recipe, say)
    batches = fixed_batches(sequences, max(1, BATCH_TOKENS // recipe.batch.length), planned.sequences)
    count = min(planned.sequences, len(sequences))
    say(f"{planned.parent.id}: {planned.analysis} on {count} sequences of {planned.text}")
    facts = {"text": planned.text, "sequences": count, "tokens": count * recipe.batch.length}
    if planned.analysis == "similarity":
        return device, {**facts, "cosines": layer_similarity(model, batches)}
    return device, {**facts, **activity(model, batches)}


def _headline(analysis: Analysis, found: dict[str, Any]) -> tuple[str, float]:
    """The one number that a list of runs shows."""
    if analysis == "similarity":
        cosines = found["cosines"]
        return "mean cosine of adjacent layers", fmean(cosines[i][i + 1] for i in range(len(cosines) - 1))
    if analysis == "activity":
        return "mean share of dead units", fmean(slot["dead_share"] for slot in found["slots"].values())
    shares = [ranks["effective_rank_share"] for slot in found["slots"].values() for ranks in slot.values()]
    return "mean effective rank over full rank", fmean(shares)


def _description(planned: AnalysisPlan, device: str) -> dict[str, Any]:
    import torch

    parent = planned.parent.info
    text = {} if planned.text is None else {"text": planned.text}
    sequences = {} if planned.text is None else {"sequences": planned.sequences}
    return {
        "kind": "analyze",
        "analysis": {"name": planned.analysis, **sequences},
        "parent": planned.parent.id,
        "recipe": parent["recipe"],
        "code": parent["code"],
        "model": parent["model"],
        "data": {"hash": planned.data_hash, **text},
        "hardware": {"device": device, "precision": "fp32", "compiled": False, "threads": torch.get_num_threads()},
        "environment": environment(),
    }
