"""The curves of a run's slots: rebuilt from what the run recorded, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest
from safetensors.numpy import load_file

from actbench.analysis.curves import Grid, slot_curves
from actbench.errors import BadInput
from actbench.store import Run

CUBE = """
import torch
from actbench.activations import Activation, register

@register("{name}")
class Cube(Activation):
    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def compute(self, x):
        return {factor} * self.scale * x**3
"""


def edit_slots(run: Run, change: Any) -> None:
    """Rewrites activations.json after `change` has had its way with the list of slots."""
    path = run.folder / "activations.json"
    slots = json.loads(path.read_text(encoding="utf-8"))["slots"]
    change(slots)
    path.write_text(json.dumps({"slots": slots}), encoding="utf-8")


def test_grid_has_its_low_end_and_not_its_high_one() -> None:
    x = Grid().points()
    assert len(x) == 800
    assert (x[0], x[-1]) == (-4.0, pytest.approx(3.99))


def test_rational_curves_are_those_of_the_recorded_coefficients(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "raf", layers=3)
    recorded = json.loads((run.folder / "activations.json").read_text(encoding="utf-8"))["slots"]
    curves = slot_curves(run)
    assert [curve.slot for curve in curves] == ["layers.0", "layers.1", "layers.2", "pooler"]
    for curve, slot in zip(curves[:3], recorded[:3], strict=True):
        for values, state in ((curve.initial, slot["initial"]), (curve.final, slot["final"])):
            numerator = np.polyval(state["numerator"][::-1], curve.x)
            powers = np.abs(curve.x)[:, None] ** np.arange(1, 5)
            denominator = 1 + powers @ np.abs(state["denominator"])
            np.testing.assert_allclose(values, numerator / denominator, rtol=1e-4, atol=1e-5)
        assert curve.learnable
        assert np.abs(curve.final - curve.initial).max() > 0.05


def test_a_fixed_activation_is_not_learnable_and_does_not_move(tmp_path: Path) -> None:
    curve = slot_curves(fake_runs.pretrain(tmp_path, "relu"))[0]
    assert not curve.learnable
    np.testing.assert_array_equal(curve.initial, curve.final)
    np.testing.assert_allclose(curve.final, np.maximum(curve.x, 0), atol=1e-6)


def test_options_reach_the_rebuilt_activation(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "poly_relu", options={"order": 2})
    edit_slots(run, lambda slots: slots[0].update(final={"weight": [1.0, 2.0], "bias": 0.5}))
    curve = slot_curves(run)[0]
    positive = np.maximum(curve.x, 0)
    np.testing.assert_allclose(curve.final, 0.5 + positive + 2 * positive**2, rtol=1e-5)


def test_a_normalisation_is_drawn_with_the_norms_of_its_inputs(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "poly_norm", options={"order": 1, "eps": 0.0})
    edit_slots(run, lambda slots: slots[0].update(final={"weight": [1.0], "bias": 0.0}))
    curve = slot_curves(run)[0]
    sample = load_file(run.folder / "activation_inputs.safetensors")["layers.0"].astype(float)
    np.testing.assert_allclose(curve.final, curve.x / np.sqrt(np.mean(sample**2)), rtol=1e-4, atol=1e-6)


def test_histogram_holds_the_fractions_of_all_inputs(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "gelu", layers=4)
    sample = load_file(run.folder / "activation_inputs.safetensors")["layers.3"]
    histogram = slot_curves(run, Grid(low=-1.0, high=1.0, bins=4))[3].inputs
    assert histogram is not None
    np.testing.assert_allclose(histogram.edges, [-1, -0.5, 0, 0.5, 1])
    expected = [np.mean((sample >= low) & (sample < low + 0.5)) for low in (-1, -0.5, 0, 0.5)]
    np.testing.assert_allclose(histogram.fractions, expected)
    assert histogram.outside == pytest.approx(float(np.mean(np.abs(sample) > 1)))


def test_a_slot_without_a_sample_has_no_histogram(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "gelu")
    assert slot_curves(run)[-1].slot == "pooler"
    assert slot_curves(run)[-1].inputs is None


def test_an_own_activation_is_rebuilt_from_the_runs_copy(tmp_path: Path) -> None:
    source = CUBE.format(name="cube_of_test", factor=1)
    run = fake_runs.pretrain(tmp_path / "runs", f"{fake_runs.OWN}:Cube", copy_of_own=source)
    edit_slots(run, lambda slots: slots[0].update(final={"scale": 2.0}))
    curve = slot_curves(run)[0]
    np.testing.assert_allclose(curve.final, 2 * curve.x**3, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "coefficients",
    [
        {"numerator": [0.0] * 6},
        {"numerator": [0.0] * 6, "denominator": [0.0] * 4, "extra": 1.0},
        {"numerator": [0.0] * 5, "denominator": [0.0] * 4},
    ],
    ids=["missing", "unknown", "wrong length"],
)
def test_coefficients_that_do_not_fit_are_named(tmp_path: Path, coefficients: dict[str, Any]) -> None:
    run = fake_runs.pretrain(tmp_path, "raf")
    edit_slots(run, lambda slots: slots[1].update(final=coefficients))
    with pytest.raises(BadInput, match=rf"{run.id}, slot layers\.1"):
        slot_curves(run)


def test_a_run_without_activations_is_named(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "raf", finished=False)
    with pytest.raises(BadInput, match=f"{run.id} recorded no activations.*interrupted"):
        slot_curves(run)


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "raf")
    (run.folder / "activation_inputs.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match=r"activation_inputs\.safetensors: damaged"):
        slot_curves(run)
