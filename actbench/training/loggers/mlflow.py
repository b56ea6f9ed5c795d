"""MLflow, in a database in the run's folder: `mlflow ui --backend-store-uri sqlite:///runs/RUN/mlflow/mlflow.db`.

Its plain files, which MLflow calls unmaintained, are refused by its newer versions.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from actbench.config.schema import Recipe
from actbench.store.index import flat

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is imported: nothing leaves the machine
logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it makes

from mlflow.entities import Metric, Param  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

LONGEST_PARAM = 500  # characters, MLflow's own limit for databases of some years ago
BATCH = 100  # params a call, MLflow's limit


class Journal:
    """A run of the experiment that is called as the recipe."""

    def __init__(self, folder: Path, recipe: Recipe, run: str):
        folder.mkdir()
        self.client = MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}")
        experiment = self.client.create_experiment(
            recipe.name, artifact_location=(folder / "artifacts").resolve().as_uri()
        )
        self.id = self.client.create_run(experiment, run_name=run).info.run_id
        params = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in flat(recipe.model_dump(mode="json"))]
        for first in range(0, len(params), BATCH):
            self.client.log_batch(self.id, params=params[first : first + BATCH])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        now = int(time.time() * 1000)
        self.client.log_batch(self.id, metrics=[Metric(key, value, now, step) for key, value in values.items()])

    def close(self) -> None:
        """Ends the run."""
        self.client.set_terminated(self.id)
