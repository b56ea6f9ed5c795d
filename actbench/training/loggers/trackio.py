"""Trackio, in the run's folder: `TRACKIO_DIR=runs/RUN/trackio trackio show`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from actbench.config.schema import Recipe
from actbench.errors import BadInput, Problem


class Journal:
    """A run of the project that is called as the recipe."""

    def __init__(self, folder: Path, recipe: Recipe, run: str):
        place = str(folder.resolve())
        if "trackio" in sys.modules and os.environ.get("TRACKIO_DIR") != place:
            hint = "train each run in a process of its own"
            raise BadInput(Problem("trackio keeps one folder a process", key="logging.trackio", hint=hint))
        os.environ["TRACKIO_DIR"] = place  # read once, when it is imported
        with contextlib.redirect_stdout(sys.stderr):  # it tells where its dashboard is
            import trackio

            self.run = trackio.init(
                project=recipe.name,
                name=run,
                config=recipe.model_dump(mode="json"),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Waits until all is written."""
        import trackio

        with contextlib.redirect_stdout(sys.stderr):
            trackio.finish()  # and not run.finish(), after which it would end the run again when the process does
