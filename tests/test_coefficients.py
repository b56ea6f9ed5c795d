"""What becomes of coefficients in training: values and gradients are logged, kept and resumed; frozen ones stay."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from actbench.analysis.curves import slot_curves
from actbench.config import load_recipe
from actbench.errors import Interrupted
from actbench.evaluation.load import load
from actbench.store import Run
from actbench.training import pretrain as training
from actbench.training.plan import plan
from actbench.training.recorder import Recorder

Train = Callable[..., Run]
EVERY_STEP = {"every_steps": 1, "sequences": 8}
RAF = {"activation": {"name": "raf"}}


class StoppingAt:
    """A display that lets a signal come when a step is shown."""

    def __init__(self, step: int | None):
        self.step = step

    def start(self, title: str, done: float) -> None:
        """See Display."""

    def show(self, row: dict[str, Any], done: float) -> None:
        """See Display."""
        if row["step"] == self.step and row["kind"] == "train":
            signal.raise_signal(signal.SIGTERM)

    def stop(self) -> None:
        """See Display."""


@pytest.fixture
def train(tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains the tiny recipe in this process; stopped at a step and resumed, if one is given."""
    monkeypatch.chdir(tmp_path)

    def quiet(message: str) -> None:
        pass

    def run(name: str = "runs", stop_at: int | None = None, **sections: Any) -> Run:
        recipe = load_recipe(tiny_recipe(**{"validation": EVERY_STEP, "budget": {"steps": 8}, **sections}))
        planned = plan(recipe, tmp_path / name, quiet)
        monkeypatch.setattr(training, "display", lambda: StoppingAt(stop_at))
        if stop_at is None:
            return training.pretrain(planned, resume=False, say=quiet)
        with pytest.raises(Interrupted):
            training.pretrain(planned, resume=False, say=quiet)
        monkeypatch.setattr(training, "display", lambda: StoppingAt(None))
        return training.pretrain(planned, resume=True, say=quiet)

    return run


def coefficient_rows(run: Run) -> list[dict[str, Any]]:
    return [row for row in run.metrics() if row["kind"] == "coefficients"]


def slots(run: Run) -> dict[str, dict[str, Any]]:
    return {slot["name"]: slot for slot in json.loads((run.folder / "activations.json").read_text())["slots"]}


def results(run: Run) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """All that must be equal between two runs of one recipe: every number but the clock's."""
    clock = ("seconds", "tokens_per_second")
    rows = [{key: value for key, value in row.items() if key not in clock} for row in run.metrics()]
    weights, activations = (run.folder / name for name in ("model.safetensors", "activations.json"))
    return rows, weights.read_bytes(), activations.read_bytes()


def test_values_and_gradients_of_every_coefficient_are_logged_at_each_validation(train: Train) -> None:
    pooler = {"slot": "pooler", "name": "raf"}
    run = train(model={**RAF, "activation_overrides": [pooler]}, validation={**EVERY_STEP, "every_steps": 3})
    rows = coefficient_rows(run)
    assert [row["step"] for row in rows] == [3, 6, 8]
    for row in rows:
        assert list(row["values"]) == list(row["gradients"]) == ["layers.0", "layers.1", "pooler"]
        for i in range(2):
            gradient = row["gradients"][f"layers.{i}"]
            assert (len(gradient["numerator"]), len(gradient["denominator"])) == (6, 4)
            assert all(number != 0 for number in gradient["numerator"])
        assert row["gradients"]["pooler"] == {"numerator": None, "denominator": None}  # pre-training never uses it
    assert rows[-1]["values"] == {name: slot["final"] for name, slot in slots(run).items()}
    checkpoint = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)
    (recorder,) = checkpoint["callbacks"].values()
    assert recorder["coefficients"] == rows[-1]


def test_a_resumed_run_keeps_the_last_coefficients_until_the_next() -> None:
    state = {"seconds": 1.5, "coefficients": {"step": 3}}
    recorder = Recorder(*[None] * 6)  # type: ignore[arg-type]
    recorder.load_state_dict(state)
    assert recorder.state_dict() == state


def test_gradients_are_those_before_clipping(train: Train) -> None:
    clipped, free = (
        coefficient_rows(train(name, model=RAF, budget={"steps": 1}, optimizer={"clip_norm": limit}))
        for name, limit in (("clipped", 1e-6), ("free", None))
    )
    assert clipped[0]["gradients"] == free[0]["gradients"]
    assert clipped[0]["values"] != coefficient_rows(train("long", model=RAF))[1]["values"]


def test_a_model_without_coefficients_logs_none(train: Train) -> None:
    assert coefficient_rows(train(model={"activation": {"name": "gelu"}})) == []


def test_more_than_a_thousand_numbers_are_told_by_their_mean_and_range(train: Train) -> None:
    overrides = [{"layers": 1, "name": "raf", "sharing": "channel"}]
    run = train(model={**RAF, "activation_overrides": overrides, "d_ff": 256}, budget={"steps": 2})
    row, final = coefficient_rows(run)[-1], slots(run)["layers.1"]
    assert final["width"] == 224 and len(final["final"]["numerator"]) == 224
    numbers = torch.tensor(final["final"]["numerator"], dtype=torch.float64)
    told = row["values"]["layers.1"]["numerator"]
    expected = {
        "mean": numbers.mean().item(),
        "std": numbers.std(correction=0).item(),
        "min": numbers.min().item(),
        "max": numbers.max().item(),
    }
    assert told == pytest.approx(expected, rel=1e-9)
    assert set(row["gradients"]["layers.1"]["numerator"]) == set(expected)
    assert len(row["values"]["layers.1"]["denominator"]) == 224  # 896 numbers
    assert len(row["values"]["layers.0"]["numerator"]) == 6
    curves = {curve.slot: curve for curve in slot_curves(run)}
    assert abs(curves["layers.1"].initial - curves["layers.0"].initial).max() < 1e-6  # the mean of equal channels


def test_frozen_coefficients_stay_as_they_start_and_have_no_gradient(train: Train) -> None:
    settings = {"activation": {"lr": 0.1, "weight_decay": 0.5}, "activation_overrides": [{"layers": 0, "frozen": True}]}
    run = train(model=RAF, optimizer=settings)
    found = slots(run)
    assert found["layers.0"]["initial"] == found["layers.0"]["final"]
    assert found["layers.1"]["initial"] != found["layers.1"]["final"]
    for row in coefficient_rows(run):
        assert row["values"]["layers.0"] == found["layers.0"]["initial"]
        assert row["gradients"]["layers.0"] == {"numerator": None, "denominator": None}
        assert row["gradients"]["layers.1"]["numerator"] is not None


UNFREEZING = {"activation": {"lr": 0.05, "unfreeze_after": 4}}


def test_coefficients_learn_from_the_step_on_that_the_recipe_says(train: Train) -> None:
    run = train(model=RAF, optimizer=UNFREEZING, batch={"accumulate": 2})
    initial = {name: slot["initial"] for name, slot in slots(run).items() if name != "pooler"}
    for row in coefficient_rows(run):
        assert (row["values"] == initial) is (row["step"] <= 4)
        assert (row["gradients"]["layers.0"]["numerator"] is None) is (row["step"] <= 4)


@pytest.mark.parametrize("stop_at", [2, 4, 6])
def test_a_run_stopped_on_either_side_of_that_step_ends_with_the_same_bits(train: Train, stop_at: int) -> None:
    overrides = [{"layers": 1, "name": "swiglu"}, {"slot": "pooler", "name": "raf"}]
    model = {"activation": {"name": "poly_norm"}, "activation_overrides": overrides}
    sections = {"model": model, "optimizer": UNFREEZING, "validation": {**EVERY_STEP, "every_steps": 3}}
    assert results(train("stopped", stop_at, **sections)) == results(train("whole", **sections))


OWN = """
import torch
from actbench.activations import Activation

class Curve(Activation):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor({start}))

    def compute(self, x):
        return x * torch.sigmoid(self.a * x)
"""


def test_several_own_files_travel_with_their_run(train: Train, tmp_path: Path) -> None:
    files = [tmp_path / "one.py", tmp_path / "two.py"]
    for file, start in zip(files, (1.0, 3.0), strict=True):
        file.write_text(OWN.format(start=start), encoding="utf-8")
    overrides = [{"layers": 1, "name": "two.py:Curve"}, {"slot": "pooler", "name": "./one.py:Curve"}]
    model = {"activation": {"name": "one.py:Curve"}, "activation_overrides": overrides}
    run = train(model=model, budget={"steps": 2})
    copies = sorted(path.name for path in run.folder.glob("activation-*.py"))
    assert len(copies) == 2 and set(copies) < set(run.manifest["files"])
    assert "-curve-s0-" in run.id
    initial = {name: slot["initial"]["a"] for name, slot in slots(run).items()}
    assert initial == {"layers.0": 1.0, "layers.1": 3.0, "pooler": 1.0}
    assert len(set(run.info["code"].values())) == 2

    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in files:
        file.rename(moved / file.name)
    own = {slot["name"]: slot["activation"]["name"] for slot in slots(run).values()}
    assert own["layers.0"] == own["pooler"] != own["layers.1"]
    state = load(run).state_dict()
    assert state["layers.1.feed_forward.activation.a"] == slots(run)["layers.1"]["final"]["a"]
    assert [curve.slot for curve in slot_curves(run)] == ["layers.0", "layers.1", "pooler"]

    overrides = [{"layers": 1, "name": "elsewhere/two.py:Curve"}, {"slot": "pooler", "name": "elsewhere/one.py:Curve"}]
    same = {"activation": {"name": "elsewhere/one.py:Curve"}, "activation_overrides": overrides}
    assert train(model=same, budget={"steps": 2}).id == run.id
    (moved / "two.py").write_text(OWN.format(start=2.0), encoding="utf-8")
    assert train(model=same, budget={"steps": 2}).id != run.id
