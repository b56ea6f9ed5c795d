"""A finished run's model, ready to compute with, and what of its record that takes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from actbench.config import FinetuneSettings, Recipe, SquadSettings
from actbench.config.own_files import finding_copies
from actbench.config.resolve import read_recorded, read_recorded_settings
from actbench.data.tasks import Task
from actbench.errors import BadInput, Problem
from actbench.evaluation.objectives import objective_of
from actbench.nn.bert import Bert, Finetuned
from actbench.nn.build import skeleton
from actbench.nn.gpt import Gpt
from actbench.store import Run

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


def recipe_of(run: Run) -> Recipe:
    """The run's recipe. A user's own activation is taken from the copy the run keeps, not from where it once lay."""
    return finding_copies(recorded_recipe(run), run.folder)


def recorded_recipe(run: Run) -> Recipe:
    """The run's recipe as run.json has it: a user's own activation is named by the copy the run keeps.

    Raises BadInput for a run that another version of actbench recorded.
    """
    return read_recorded(run.info["recipe"], str(run.folder / "run.json"))


def device_of(recipe: Recipe) -> str:
    """Where a finished run's model is to be used: its recipe may ask for the CPU."""
    return "cuda" if torch.cuda.is_available() and recipe.hardware.device != "cpu" else "cpu"


def load(run: Run) -> Bert | Gpt:
    """The run's trained model on the CPU. Raises BadInput when the run is not finished or its weights do not load."""
    if run.manifest is None:
        raise BadInput(Problem(f"run {run.id} is not finished ({run.status})", hint="finish it with --resume"))
    path = run.folder / WEIGHTS
    if run.kind != "pretrain" or not path.exists():
        raise BadInput(Problem(f"run {run.id} keeps no weights", hint="only pre-trained runs do"))
    recipe = recipe_of(run)
    model = skeleton(recipe.model, int(run.info["data"]["vocabulary_size"]), recipe.batch.length)
    _fill(model, path)
    return model


def load_finetuned(run: Run) -> Finetuned:
    """A fine-tuned run's encoder and head on the CPU.

    Raises BadInput as `check_keeps_weights` does, where the weights are not here, and for damage.
    """
    check_keeps_weights(run)
    check_weights_are_here(run)
    config, size = recipe_of(run).model, run.info["encoder"]
    encoder = skeleton(config, int(size["vocabulary_size"]), int(size["length"]))
    assert isinstance(encoder, Bert) and config.family == "bert"
    model = objective_of(task_of(run), settings_of(run)).model(encoder, config, seed=0)
    _fill(model, run.folder / WEIGHTS)
    return model


def check_keeps_weights(run: Run) -> None:
    """Raises BadInput, saying what to do, for a run that did not end as a fine-tuning that keeps its weights."""
    if run.kind != "finetune":
        raise BadInput(Problem(f"{run.id} is not a fine-tuned run", hint="fine-tune it with --keep-weights"))
    if run.manifest is None:
        raise BadInput(Problem(f"run {run.id} is not finished ({run.status})", hint="the same command finishes it"))
    if WEIGHTS not in run.manifest["files"]:
        again = f"actbench runs rm {run.id} removes it; fine-tune again with --keep-weights"
        raise BadInput(Problem(f"run {run.id} keeps no weights", hint=again))


def check_weights_are_here(run: Run) -> None:
    """Raises BadInput where the file of a run's weights is not in its folder: an archive may come without."""
    if not (run.folder / WEIGHTS).exists():
        raise BadInput(Problem(f"the weights of {run.id} are not here", where=str(run.folder / WEIGHTS)))


def task_of(run: Run) -> Task:
    """The task that a fine-tuned run learned."""
    said = run.info["task"]
    labels, metrics = tuple(said["labels"]), tuple(said["metrics"])
    return Task(said["name"], said["kind"], labels, metrics, bool(said["stand_in"]))


def settings_of(run: Run) -> FinetuneSettings:
    """How a run was fine-tuned. Raises BadInput for what another version of actbench recorded."""
    section = SquadSettings if run.info["task"]["kind"] == "spans" else FinetuneSettings
    return read_recorded_settings(run.info["finetune"], section, str(run.folder / "run.json"))


def _fill(model: nn.Module, path: Path) -> None:
    try:
        load_model(model, path)
    except (SafetensorError, RuntimeError) as error:
        raise BadInput(Problem(f"the weights do not load: {error}", where=str(path))) from None
