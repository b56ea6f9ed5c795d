"""Activations as a run records them: a user's own by a copy of its file, and no options that only say the default."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from actbench.activations import canonical, code_hash, source_file
from actbench.config.activation import ActivationOverride, ActivationSpec
from actbench.config.placement import placement
from actbench.config.schema import Recipe

Spec = TypeVar("Spec", ActivationSpec, ActivationOverride)


def copies(recipe: Recipe) -> dict[str, Path]:
    """The user's files that the recipe names, by what the run's copy of each is called."""
    files = [source_file(name) for name in _names(recipe)]
    return {_copy_name(file): file for file in files if file is not None}


def code_hashes(recipe: Recipe) -> dict[str, str]:
    """The sha256 of the code behind every slot whose activation does not ship with actbench."""
    hashes = {slot: code_hash(spec.name) for slot, spec in placement(recipe.model).items()}
    return {slot: digest for slot, digest in hashes.items() if digest is not None}


def as_recorded(recipe: Recipe) -> Recipe:
    """The recipe as the run records it, so that runs of one identity read alike.

    "path/to/mine.py:MyAct" becomes "activation-1f2e3d4c.py:MyAct"; options that only say the default are left out.
    """
    model = recipe.model
    overrides = tuple(_without_defaults(override) for override in model.activation_overrides)
    changes = {"activation": _without_defaults(model.activation), "activation_overrides": overrides}
    plain = recipe.model_copy(update={"model": model.model_copy(update=changes)})
    return _renamed(plain, lambda file: Path(_copy_name(file)))


def finding_copies(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe that a run recorded, its own activations to be found in the run's `folder`."""
    return _renamed(recipe, lambda file: folder / file.name)


def find_copy(name: str, folder: Path) -> str:
    """One activation's name, as a run in `folder` recorded it, to be found from anywhere."""
    return _in_file(name, lambda file: folder / file.name)


def _without_defaults(said: Spec) -> Spec:
    extra = canonical(said.name, said.__pydantic_extra__ or {})
    own = {key: getattr(said, key) for key in said.model_fields_set & set(type(said).model_fields)}
    return type(said)(**own, **extra)


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
