"""Models beside each other: what they are called, where they began, and how far their curves are apart."""

from __future__ import annotations

import json
from pathlib import Path

import fake_runs
import numpy as np
import pytest
from activation_history import finetuned

from actbench.analysis.curve_distances import between_models, between_slots, drift
from actbench.analysis.curves import slot_curves
from actbench.analysis.model_curves import chosen_slots, curves_of_files, curves_of_runs, whole_row_notes
from actbench.errors import BadInput


def rational(shift: float) -> dict[str, list[float]]:
    """x + shift."""
    return {"num": [shift, 1.0], "den": [0.0]}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Models of two layers; in one they stand 1 apart, in another 3; two have poolers."""
    models = {
        "pretrained": [rational(0), rational(1), rational(0)],
        "low/cola": [rational(0), rational(3), rational(5)],
        "low/squad": [rational(0.5), rational(1)],
        "full/cola": [rational(0), rational(1), rational(0)],
    }
    path = tmp_path / "published.json"
    path.write_text(json.dumps({"version": "A", "models": models}), encoding="utf-8")
    return path


def test_runs_of_one_model_are_told_apart_by_task(tmp_path: Path) -> None:
    parent = fake_runs.pretrain(tmp_path, "raf", layers=2)
    models = curves_of_runs([finetuned(tmp_path, parent, task) for task in ("cola", "rte")])
    assert [model.label for model in models] == ["cola", "rte"]
    assert [model.kind for model in models] == ["cola", "rte"]
    assert {model.start for model in models} == {"pre-trained"}
    pretrained = {curve.slot: curve.final for curve in slot_curves(parent)}
    for model in models:
        np.testing.assert_array_equal(model.slots["layers.1"].initial, pretrained["layers.1"])


def test_seeds_are_named_where_they_differ(tmp_path: Path) -> None:
    parent = fake_runs.pretrain(tmp_path, "raf", layers=2)
    runs = [finetuned(tmp_path, parent, task, finetune_seed=seed) for task in ("cola", "rte") for seed in (0, 1)]
    labels = [model.label for model in curves_of_runs(runs)]
    assert labels == ["cola, seeds 0/0", "cola, seeds 0/1", "rte, seeds 0/0", "rte, seeds 0/1"]


def test_activations_are_named_where_they_differ(tmp_path: Path) -> None:
    parents = [fake_runs.pretrain(tmp_path, name, layers=2) for name in ("raf", "poly_relu")]
    runs = [finetuned(tmp_path, parent, task) for parent in parents for task in ("cola", "rte")]
    models = curves_of_runs(runs)
    assert models[0].label == "raf, cola, seeds 0/0"
    assert {model.kind for model in models} == {"raf", "poly_relu"}


def test_a_pattern_takes_all_models_that_match(published: Path) -> None:
    assert [model.label for model in curves_of_files([f"{published}:low/*"])] == ["low/cola", "low/squad"]
    with pytest.raises(BadInput, match=r"no model like 'high/\*' \(known: full/cola, low/cola"):
        curves_of_files([f"{published}:high/*"])


def test_a_files_models_begin_like_gelu_or_with_the_pretrained(published: Path) -> None:
    (like_gelu,) = curves_of_files([f"{published}:low/cola"])
    (tuned,) = curves_of_files([f"{published}:low/cola"], f"{published}:pretrained")
    assert (like_gelu.start, tuned.start) == ("start, like GELU", "pre-trained")
    curve = tuned.slots["layers.1"]
    np.testing.assert_allclose(curve.initial, curve.x + 1, atol=1e-6)
    np.testing.assert_allclose(curve.final, curve.x + 3, atol=1e-6)
    with pytest.raises(BadInput, match="--pretrained: low/squad lacks pooler of low/cola"):
        curves_of_files([f"{published}:low/cola"], f"{published}:low/squad")


def test_an_unknown_slot_is_told_with_the_nearest(tmp_path: Path) -> None:
    models = curves_of_runs([fake_runs.pretrain(tmp_path, "raf", layers=2)])
    assert chosen_slots(models) == ["layers.0", "layers.1"]  # the pooler's tanh learns nothing
    assert chosen_slots(models, ["pooler", "layers.1"]) == ["pooler", "layers.1"]
    with pytest.raises(BadInput, match=r"no slot 'layer\.1' \(did you mean 'layers\.1'\?\)"):
        chosen_slots(models, ["layer.1"])


def test_functions_of_whole_rows_are_told(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "poly_norm", layers=2)
    (note,) = whole_row_notes(curves_of_runs([run]))
    assert note.startswith("poly_norm: ") and "received on one batch" in note
    (run.folder / "activation_inputs.safetensors").unlink()
    (note,) = whole_row_notes(curves_of_runs([run]))
    assert "normal numbers" in note
    assert whole_row_notes(curves_of_runs([fake_runs.pretrain(tmp_path, "raf", layers=2)])) == []


def test_distances_between_the_layers_of_a_model(published: Path) -> None:
    (model,) = curves_of_files([f"{published}:low/cola"])
    found = between_slots(model, ["layers.0", "layers.1", "pooler"])
    np.testing.assert_allclose(found.values, [[0, 3, 5], [3, 0, 2], [5, 2, 0]], atol=1e-5)
    assert found.of_layers == pytest.approx(3, abs=1e-5)  # without the pooler's 5


def test_distances_between_models(published: Path) -> None:
    models = curves_of_files([f"{published}:low/*", f"{published}:pretrained"])
    maps = between_models(models, ["layers.0", "layers.1", "pooler"])
    assert [one.title for one in maps] == ["All layers", "layers.0", "layers.1", "pooler"]
    np.testing.assert_allclose(maps[2].values, [[0, 2, 2], [2, 0, 0], [2, 0, 0]], atol=1e-5)
    apart = ((0.5**2 + 2**2) / 2) ** 0.5
    np.testing.assert_allclose(maps[0].values[0], [0, apart, 2**0.5], atol=1e-5)
    assert maps[3].rows == ("low/cola", "pretrained")
    np.testing.assert_allclose(maps[3].values, [[0, 5], [5, 0]], atol=1e-5)
    assert maps[3].of_layers == 0


def test_models_that_cannot_be_compared_are_refused(tmp_path: Path, published: Path) -> None:
    models = curves_of_files([f"{published}:low/cola"])
    with pytest.raises(BadInput, match="at least two"):
        between_models(models, ["layers.0"])
    runs = [fake_runs.pretrain(tmp_path, "raf", name=f"m{n}", layers=n) for n in (2, 3)]
    deep = curves_of_runs(runs)
    with pytest.raises(BadInput, match="as many layers"):
        between_models(deep, chosen_slots(deep))


def test_drift_is_the_distance_to_the_pretrained_curve(published: Path) -> None:
    models = curves_of_files([f"{published}:low/*"], f"{published}:pretrained")
    found = drift(models, ["layers.0", "layers.1", "pooler"])
    assert found.rows == ("low/cola", "low/squad")
    np.testing.assert_allclose(found.values, [[0, 2, 5], [0.5, 0, np.nan]], atol=1e-5)
    assert found.of_layers == pytest.approx(2, abs=1e-5)
