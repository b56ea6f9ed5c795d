"""A finished run's model, ready to compute with."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load_model

from actbench.config import Recipe
from actbench.config.own_files import finding_copies
from actbench.config.resolve import read_recorded
from actbench.errors import BadInput, Problem
from actbench.nn.bert import Bert
from actbench.nn.build import skeleton
from actbench.nn.gpt import Gpt
from actbench.store import Run


def recipe_of(run: Run) -> Recipe:
    """The run's recipe. A user's own activation is taken from the copy the run keeps, not from where it once lay."""
    return finding_copies(recorded_recipe(run), run.folder)


def recorded_recipe(run: Run) -> Recipe:
    """The run's recipe as run.json has it: a user's own activation is named by the copy the run keeps.

    Raises BadInput for a run that another version of actbench recorded.
    """
    return read_recorded(run.info["recipe"], str(run.folder / "run.json"))


def load(run: Run) -> Bert | Gpt:
    """The run's trained model on the CPU. Raises BadInput when the run is not finished or its weights do not load."""
    if run.manifest is None:
        raise BadInput(Problem(f"run {run.id} is not finished ({run.status})", hint="finish it with --resume"))
    path = run.folder / "model.safetensors"
    if run.kind != "pretrain" or not path.exists():
        raise BadInput(Problem(f"run {run.id} keeps no weights", hint="only pre-trained runs do"))
    recipe = recipe_of(run)
    model = skeleton(recipe.model, int(run.info["data"]["vocabulary_size"]), recipe.batch.length)
    try:
        load_model(model, path)
    except (SafetensorError, RuntimeError) as error:
        raise BadInput(Problem(f"the weights do not load: {error}", where=str(path))) from None
    return model
