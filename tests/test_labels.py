"""What a reader calls a run: its activation, and all of its treatment that is not the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_runs
import pytest

from actbench.analysis.labels import label, labels
from actbench.errors import BadInput
from actbench.evaluation.load import recipe_of
from actbench.store import Run


def placed(tmp_path: Path, *overrides: dict[str, Any], **changes: Any) -> Run:
    """A run of four layers, as its record tells of it."""
    run = fake_runs.pretrain(tmp_path, "gelu", **changes)
    run.info["recipe"]["model"]["activation_overrides"] = list(overrides)
    run.info["model"]["activation_parameters"] = 10
    return run


def test_label_names_what_is_not_default_of_the_treatment(tmp_path: Path) -> None:
    fast = {"optimizer": {"lr": 1e-3, "activation": {"lr_multiplier": 10.0}}}
    assert label(fake_runs.pretrain(tmp_path, "raf")) == "raf"
    assert label(fake_runs.pretrain(tmp_path, "raf", options={"init": "relu"})) == "raf (init=relu)"
    assert label(fake_runs.pretrain(tmp_path, "raf", recipe=fast)) == "raf (lr_multiplier=10.0)"
    assert label(fake_runs.pretrain(tmp_path, "gelu", recipe=fast)) == "gelu"


def test_label_names_the_layers_that_differ(tmp_path: Path) -> None:
    upper = {"layers": "2-3", "name": "poly_norm", "order": 2}
    assert label(placed(tmp_path, upper)) == "gelu (layers 2-3 poly_norm order=2)"
    assert label(placed(tmp_path, upper, {"slot": "layers.2", "name": "gelu"})) == "gelu (layer 3 poly_norm order=2)"
    assert label(placed(tmp_path, upper, {"layers": "0,2-3", "name": "raf"})) == "gelu (layers 0,2-3 raf)"
    assert label(placed(tmp_path, {"layers": "1", "name": "gelu"})) == "gelu"


def test_label_names_a_pooler_that_is_not_tanh(tmp_path: Path) -> None:
    assert label(placed(tmp_path, {"slot": "pooler", "name": "gelu"})) == "gelu (pooler gelu)"
    assert label(placed(tmp_path, {"slot": "pooler", "name": "tanh"})) == "gelu"


def test_label_names_the_slots_that_learn_otherwise(tmp_path: Path) -> None:
    overrides = [{"slot": "pooler", "frozen": True}, {"layers": "0-1", "lr": 0.1, "schedule": "constant"}]
    run = placed(tmp_path, recipe={"optimizer": {"lr": 1e-3, "activation_overrides": overrides}})
    assert label(run) == "gelu (pooler frozen=True, layers 0-1 lr=0.1, layers 0-1 schedule=constant)"


def test_long_lists_of_numbers_are_told_by_a_hash(tmp_path: Path) -> None:
    def fitted(last: float, slot: str = "layers.0") -> str:
        numbers = {"numerator": [0.02, 0.5, 1.6, last], "denominator": [0.5, 2.3]}
        return label(placed(tmp_path, {"slot": slot, "name": "raf", "degrees": [3, 2], **numbers}))

    assert fitted(1.0).startswith("gelu (layer 0 raf degrees=[3, 2] denominator=[0.5, 2.3], numbers #")
    assert fitted(1.0) == fitted(1.0) != fitted(2.0)
    assert len({fitted(1.0, f"layers.{i}")[-6:] for i in range(4)}) == 4


def test_label_of_an_own_file_is_its_class(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "gelu")
    run.info["recipe"]["model"]["activation"] = {"name": "some/where/mine.py:Cube", "scale": 2}
    assert label(run) == "Cube (scale=2)"


def test_labels_are_no_longer_than_tells_runs_apart(tmp_path: Path) -> None:
    fast = {"optimizer": {"lr": 1e-3, "activation": {"lr_multiplier": 10.0}}}
    slow, quick = fake_runs.pretrain(tmp_path, "raf"), fake_runs.pretrain(tmp_path, "raf", recipe=fast)
    assert labels([quick]) == ["raf"]
    assert labels([slow, quick]) == ["raf", "raf (lr_multiplier=10.0)"]


def test_a_run_of_another_version_is_named(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "gelu")
    run.info["recipe"]["model"]["pooler_activation"] = {"name": "tanh"}
    for read in (label, recipe_of):
        with pytest.raises(BadInput, match=rf"{run.id}/run.json: .*another version.*pooler_activation"):
            read(run)
