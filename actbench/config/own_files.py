"""Activations from a user's own files: a run keeps a copy of each, named by its content, and refers to that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from actbench.activations import code_hash, source_file
from actbench.config.placement import placement
from actbench.config.schema import Recipe


def copies(recipe: Recipe) -> dict[str, Path]:
    """The user's files that the recipe names, by what the run's copy of each is called."""
    files = [source_file(name) for name in _names(recipe)]
    return {_copy_name(file): file for file in files if file is not None}


def code_hashes(recipe: Recipe) -> dict[str, str]:
    """The sha256 of the code behind every slot whose activation does not ship with actbench."""
    hashes = {slot: code_hash(spec.name) for slot, spec in placement(recipe.model).items()}
    return {slot: digest for slot, digest in hashes.items() if digest is not None}


def naming_copies(recipe: Recipe) -> Recipe:
    """The recipe as the run records it: "path/to/mine.py:MyAct" becomes "activation-1f2e3d4c.py:MyAct"."""
    return _renamed(recipe, lambda file: Path(_copy_name(file)))


def finding_copies(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe that a run recorded, its own activations to be found in the run's `folder`."""
    return _renamed(recipe, lambda file: folder / file.name)


def find_copy(name: str, folder: Path) -> str:
    """One activation's name, as a run in `folder` recorded it, to be found from anywhere."""
    return _in_file(name, lambda file: folder / file.name)


def _copy_name(file: Path) -> str:
    return f"activation-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.py"


def _names(recipe: Recipe) -> list[str]:
    return [recipe.model.activation.name, *(override.name for override in recipe.model.activation_overrides)]


def _in_file(name: str, move: Callable[[Path], Path]) -> str:
    file = source_file(name)
    return name if file is None else f"{move(file)}:{name.rpartition(':')[2]}"


def _renamed(recipe: Recipe, move: Callable[[Path], Path]) -> Recipe:
    model = recipe.model
    activation = model.activation.model_copy(update={"name": _in_file(model.activation.name, move)})
    overrides = tuple(o.model_copy(update={"name": _in_file(o.name, move)}) for o in model.activation_overrides)
    changes = {"activation": activation, "activation_overrides": overrides}
    return recipe.model_copy(update={"model": model.model_copy(update=changes)})
