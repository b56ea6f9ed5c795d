"""A finished run's model, ready to compute with."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load_model

from actbench.activations import source_file
from actbench.config import Recipe
from actbench.errors import BadInput, Problem
from actbench.nn.bert import Bert
from actbench.nn.build import skeleton
from actbench.nn.gpt import Gpt
from actbench.store import Run


def recipe_of(run: Run) -> Recipe:
    """The run's recipe. A user's own activation is taken from the copy the run keeps, not from where it once lay."""
    recipe = Recipe.model_validate(run.info["recipe"])
    updates = {}
    for slot, copy in (("activation", "activation.py"), ("pooler_activation", "pooler_activation.py")):
        spec = getattr(recipe.model, slot, None)
        if spec is not None and source_file(spec.name) is not None:
            name = f"{run.folder / copy}:{spec.name.rpartition(':')[2]}"
            updates[slot] = spec.model_copy(update={"name": name})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=updates)})


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
