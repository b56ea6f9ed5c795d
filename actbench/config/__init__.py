"""Recipes: the schema, and the way from YAML files and `--set` to one frozen, checked `Recipe`."""

from actbench.config.finetuning import FinetuneSettings, SquadSettings
from actbench.config.resolve import dump, load, load_recipe
from actbench.config.schema import ActivationSpec, Recipe

__all__ = ["ActivationSpec", "FinetuneSettings", "Recipe", "SquadSettings", "dump", "load", "load_recipe"]
