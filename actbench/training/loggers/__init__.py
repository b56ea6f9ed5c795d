"""Other tools' journals of a run, beside its own metrics.jsonl, each where the recipe's `logging` section says so.

A journal lies in the run's folder under the tool's name and holds what metrics.jsonl does, no more. So a resumed run
does not ask the tool where it was: the journal is made anew from the rows up to the checkpoint, under the same name.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from actbench.config.schema import LoggingSection, Recipe
from actbench.errors import BadInput, Problem
from actbench.store.run import read_rows

NEEDED = {  # the libraries that each logger imports
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
SCALARS = (
    *("loss", "lr", "grad_norm", "perplexity", "tokens_per_second"),
    *("load_balance", "router_z", "router_entropy", "busiest_expert"),
)


class Logger(Protocol):
    """One tool. Each module here has a class `Journal`, made from a folder, the recipe and the run's name."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step, as in {"train/loss": 3.2}. Steps never go back."""

    def close(self) -> None:
        """Writes what is not written yet."""


class Loggers:
    """All that a run has; none, mostly."""

    def __init__(self, loggers: Sequence[Logger]):
        self.loggers = loggers

    def log(self, row: Mapping[str, Any]) -> None:
        """Passes a row of metrics.jsonl on."""
        kind = f"validation/{row['set']}" if row["kind"] == "validation_set" else row["kind"]
        values = {f"{kind}/{key}": float(row[key]) for key in SCALARS if row.get(key) is not None}
        for logger in self.loggers if values else ():
            logger.log(row["step"], values)

    def close(self) -> None:
        """Closes them all."""
        for logger in self.loggers:
            logger.close()


def chosen(section: LoggingSection) -> list[str]:
    """The loggers that are on, by name."""
    return [name for name in NEEDED if getattr(section, name)]


def check_installed(section: LoggingSection) -> None:
    """Raises BadInput for every logger that is on and whose library is not there."""
    missing = [name for name in chosen(section) if not all(map(_is_there, NEEDED[name]))]
    if missing:
        raise BadInput(
            Problem(f"{name} is not installed", key=f"logging.{name}", hint=f"pip install 'actbench[{name}]'")
            for name in missing
        )


def open_loggers(recipe: Recipe, folder: Path, step: int) -> Loggers:
    """The run's loggers, each with what the run has logged up to `step` and nothing after it."""
    opened = []
    for name in chosen(recipe.logging):
        shutil.rmtree(folder / name, ignore_errors=True)
        module = import_module(f"actbench.training.loggers.{name}")
        opened.append(module.Journal(folder / name, recipe, folder.name))
    loggers = Loggers(opened)
    for row in read_rows(folder / "metrics.jsonl") if opened else ():
        if row["step"] <= step:
            loggers.log(row)
    return loggers


def _is_there(library: str) -> bool:
    spec = find_spec(library)
    return spec is not None and spec.origin is not None  # a folder that happens to be called so has no origin
