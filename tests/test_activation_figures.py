"""The forms in which learned activations are drawn, and the table of their shapes."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest
from activation_history import finetuned, log_coefficients
from conftest import ROOT
from PIL import Image
from typer.testing import CliRunner

from actbench.analysis.curves import curves_over_training, slot_curves
from actbench.analysis.model_curves import curves_of_runs
from actbench.cli.main import app
from actbench.cli.plot_activations import activations
from actbench.errors import BadInput
from actbench.report.figures import plot_by_layer, plot_by_model, plot_distances, plot_drift, plot_over_training
from actbench.report.shapes_table import shapes_table
from actbench.report.table_files import to_csv
from actbench.store import Run

STEPS = [20, 40, 60, 80]
DOTS = "stroke-dasharray"


def words(path: Path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def titles(path: Path) -> list[str]:
    return [word for word in words(path) if re.fullmatch(r"Layer \d+|Pooler|step [\d,]+", word)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that logged its coefficients at four validations."""
    made = fake_runs.pretrain(tmp_path / "runs", "raf", layers=3)
    log_coefficients(made, STEPS)
    return made


# Over training.


def test_curves_over_training_go_from_the_first_to_the_last(run: Run) -> None:
    history = curves_over_training(run, most=10)
    assert list(history) == [0, *STEPS]
    ends = slot_curves(run)
    for first, last, end in zip(history[0], history[80], ends, strict=True):
        np.testing.assert_array_equal(first.final, end.initial)
        np.testing.assert_allclose(last.final, end.final, rtol=1e-5, atol=1e-6)
    middle = json.loads((run.folder / "activations.json").read_text(encoding="utf-8"))["slots"][0]
    half = [(a + b) / 2 for a, b in zip(middle["initial"]["numerator"], middle["final"]["numerator"], strict=True)]
    below = [(a + b) / 2 for a, b in zip(middle["initial"]["denominator"], middle["final"]["denominator"], strict=True)]
    x = ends[0].x
    expected = np.polyval(half[::-1], x) / (1 + np.abs(x)[:, None] ** np.arange(1, 5) @ np.abs(below))
    np.testing.assert_allclose(history[40][0].final, expected, rtol=1e-4, atol=1e-5)


def test_many_steps_are_thinned_but_for_their_ends(run: Run) -> None:
    assert list(curves_over_training(run, most=3)) == [0, 40, 80]


@pytest.mark.parametrize("activation", ["poly_relu", "poly_norm", "xielu"])
def test_every_activation_that_learns_is_drawn_over_training(tmp_path: Path, activation: str) -> None:
    run = fake_runs.pretrain(tmp_path, activation, layers=2)
    log_coefficients(run, STEPS)
    plot_over_training(run, tmp_path / "f.svg")
    assert titles(tmp_path / "f.svg") == ["Layer 1", "Layer 2", "step 0"]


def test_an_own_activation_is_drawn_over_training(tmp_path: Path) -> None:
    source = (
        "import torch\nfrom actbench.activations import Activation, register\n\n"
        '@register("line_of_test")\nclass Line(Activation):\n'
        "    def __init__(self):\n        super().__init__()\n"
        "        self.slope = torch.nn.Parameter(torch.tensor(1.0))\n\n"
        "    def compute(self, x):\n        return self.slope * x\n"
    )
    run = fake_runs.pretrain(tmp_path / "runs", f"{fake_runs.OWN}:Line", copy_of_own=source, layers=2)
    with (run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 7, "kind": "coefficients", "values": {"layers.0": {"slope": 3.0}}}) + "\n")
    first, second, _ = curves_over_training(run, most=10)[7]
    np.testing.assert_allclose(first.final, 3 * first.x, rtol=1e-5)
    np.testing.assert_allclose(second.final, second.x, rtol=1e-5)  # it logged nothing: as it began


def test_by_layer_every_step_is_a_line_and_its_colour_is_told(run: Run, tmp_path: Path) -> None:
    plot_over_training(run, tmp_path / "f.svg")
    assert titles(tmp_path / "f.svg") == ["Layer 1", "Layer 2", "Layer 3", "step 0"]
    assert "80" in words(tmp_path / "f.svg")
    colours = set(re.findall(r"stroke: (#\w{6}); stroke-width: 1.2", (tmp_path / "f.svg").read_text(encoding="utf-8")))
    assert len(colours) == 1 + len(STEPS)


def test_by_step_a_strip_has_a_panel_a_step(run: Run, tmp_path: Path) -> None:
    plot_over_training(run, tmp_path / "f.svg", by="step")
    assert [word for word in titles(tmp_path / "f.svg") if word.startswith("step")] == [
        "step 0", "step 20", "step 40", "step 60", "step 80",
    ]  # fmt: skip
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").count(DOTS) == 1 + 1 + len(STEPS)  # and the legend's


def test_an_animation_shows_every_step_and_holds_the_last(run: Run, tmp_path: Path) -> None:
    plot_over_training(run, tmp_path / "f.gif", slots=["layers.0"])
    with Image.open(tmp_path / "f.gif") as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 1 + len(STEPS), 0)
        durations, pictures = [], []
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(image.info["duration"])
            pictures.append(np.asarray(image.convert("RGB")))
    assert durations == [150] * len(STEPS) + [2000]
    assert all((one != other).any() for one, other in pairwise(pictures))
    plot_over_training(run, tmp_path / "again.gif", slots=["layers.0"])
    assert (tmp_path / "f.gif").read_bytes() == (tmp_path / "again.gif").read_bytes()


def test_only_what_moves_is_animated(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"f\.gif: a \.gif shows one step after another"):
        plot_over_training(run, tmp_path / "f.gif", by="step")
    with pytest.raises(BadInput, match=r"cannot draw a '\.gif' file"):
        plot_by_layer(curves_of_runs([run]), tmp_path / "f.gif")
    assert not (tmp_path / "f.gif").exists()


def test_a_run_that_logged_no_coefficients_is_named(tmp_path: Path) -> None:
    parent = fake_runs.pretrain(tmp_path, "raf", layers=2)
    with pytest.raises(BadInput, match=f"{parent.id} logged no coefficients"):
        plot_over_training(parent, tmp_path / "f.svg")
    fixed = fake_runs.pretrain(tmp_path, "gelu", layers=2)
    with pytest.raises(BadInput, match="its activations have none"):
        plot_over_training(fixed, tmp_path / "f.svg")


def test_coefficients_told_by_their_mean_cannot_be_drawn(run: Run, tmp_path: Path) -> None:
    row = {"step": 100, "kind": "coefficients", "values": {"layers.1": {"numerator": {"mean": 0.0, "std": 1.0}}}}
    with (run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(BadInput, match=r"slot layers\.1: coefficients were not logged one by one"):
        plot_over_training(run, tmp_path / "f.svg")


# Beside each other.


def test_tasks_are_lines_and_the_pretrained_curve_is_dotted_once(run: Run, tmp_path: Path) -> None:
    models = curves_of_runs([finetuned(tmp_path / "runs", run, task) for task in ("cola", "rte")])
    plot_by_layer(models, tmp_path / "f.svg", ["layers.1"])
    assert titles(tmp_path / "f.svg") == ["Layer 2"]
    assert {"cola", "rte", "pre-trained"} <= set(words(tmp_path / "f.svg"))
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").count(DOTS) == 2  # the curve and the legend's


def test_tasks_are_told_apart_though_their_rates_differ(run: Run, tmp_path: Path) -> None:
    """As in RAFT, where each task has a rate of its own for the coefficients."""
    rates = {"cola": 5e-4, "rte": 5e-3}
    root = tmp_path / "runs"
    runs = [finetuned(root, run, task, activation_lr=lr) for task, lr in rates.items()]
    models = curves_of_runs(runs)
    assert [(model.label, model.kind) for model in models] == [("cola", "cola"), ("rte", "rte")]
    labels = [model.label for model in curves_of_runs([*runs, finetuned(root, run, "rte", train_size=1000)])]
    assert labels[0] == "cola" and labels[2].startswith("rte, rte-") and run.id not in labels[2]


def test_by_model_layers_are_overlaid(run: Run, tmp_path: Path) -> None:
    models = curves_of_runs([finetuned(tmp_path / "runs", run, task) for task in ("cola", "rte")])
    plot_by_model(models, tmp_path / "f.svg")
    said = words(tmp_path / "f.svg")
    assert said.count("cola") == said.count("rte") == 1
    assert titles(tmp_path / "f.svg") == ["Layer 1", "Layer 2", "Layer 3"]  # the legend
    text = (tmp_path / "f.svg").read_text(encoding="utf-8")
    assert len(set(re.findall(r"stroke: (#\w{6}); stroke-width: 1.2", text))) == 3


def test_maps_of_distances_have_a_number_a_pair(run: Run, tmp_path: Path) -> None:
    models = curves_of_runs([finetuned(tmp_path / "runs", run, t, m) for t, m in (("cola", 0.1), ("rte", 0.3))])
    maps = plot_distances(models, tmp_path / "f.svg", "layer")
    said = words(tmp_path / "f.svg")
    assert [word for word in said if word in ("All layers", "Layer 1", "Layer 2", "Layer 3")] == [
        "All layers", "Layer 1", "Layer 2", "Layer 3",
    ]  # fmt: skip
    for one in maps:
        assert said.count(f"{one.values[0, 1]:.2f}") >= 2
    plot_distances(models[:1], tmp_path / "m.svg", "model")
    assert "cola" in words(tmp_path / "m.svg") and "Layer 3" in words(tmp_path / "m.svg")


def test_drift_has_a_row_a_model_and_says_from_where(run: Run, tmp_path: Path) -> None:
    models = curves_of_runs([finetuned(tmp_path / "runs", run, t, m) for t, m in (("cola", 0.1), ("rte", 0.3))])
    found = plot_drift(models, tmp_path / "f.svg")
    assert found.rows == ("cola", "rte")
    assert (found.values[1] > found.values[0]).all()
    assert "RMS difference on [−3, 3] to: pre-trained" in words(tmp_path / "f.svg")


def test_a_map_says_that_curves_are_for_certain_rows(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "poly_norm", layers=3)
    plot_distances(curves_of_runs([run]), tmp_path / "f.svg", "model")
    assert "poly_norm: a value depends on its" in " ".join(words(tmp_path / "f.svg"))


def test_many_layers_are_drawn_small_and_without_numbers(tmp_path: Path) -> None:
    models = curves_of_runs([fake_runs.pretrain(tmp_path, "raf", layers=18)])
    (found,) = plot_distances(models, tmp_path / "f.svg", "model")
    said = words(tmp_path / "f.svg")
    assert "Layer 18" in said
    assert f"{found.values[0, 1]:.2f}" not in said


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_models_give_the_same_bytes(run: Run, tmp_path: Path, suffix: str) -> None:
    models = curves_of_runs([run])
    for name in ("one", "two"):
        plot_distances(models, tmp_path / f"{name}.{suffix}", "model")
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


# The table, and the commands.


def test_the_table_tells_shape_and_drift(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, name, layers=2) for name in ("gelu", "relu", "raf")]
    table = shapes_table(curves_of_runs(runs))
    gelu, relu, raf = (row for row in table.rows if row.values["slot"] == "layers.0")
    assert (gelu.values["nearest"], relu.values["nearest"]) == ("gelu", "relu")
    assert gelu.values["distance"]["gelu"]["rms"] < 1e-6 < gelu.values["distance"]["silu"]["rms"]
    assert (relu.values["turns"], gelu.values["turns"]) == (0, 1)
    assert (gelu.values["drift_rms"], gelu.cells[-1]) == (None, "–")
    assert raf.values["drift_rms"] > 0
    assert raf.runs == (runs[2].id,)
    assert table.notes[0].startswith("2 of 6 curves are monotone")  # relu's
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(rows[0]["distance.relu.max"]) == pytest.approx(0.169971, abs=1e-4)


def test_the_commands_draw_and_tell(run: Run, tmp_path: Path, actbench: Callable) -> None:
    arguments = ("--form", "distances", "--slot", "layers.0", "--slot", "layers.2", "-o", "f.svg", "--json")
    done = json.loads(actbench("plot", "activations", run.id, *arguments, check=0).stdout)
    (one,) = done["maps"]
    assert one["rows"] == ["layers.0", "layers.2"]
    assert one["values"][0][1] == one["values"][1][0] > 0
    told = json.loads(actbench("activations", "shapes", run.id, "-o", "s.csv", "--json", check=0).stdout)
    assert [row["slot"] for row in told["rows"]] == ["layers.0", "layers.1", "layers.2"]
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").startswith("model,slot,activation,rises")


def test_the_commands_in_the_docs_work_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = fake_runs.pretrain(tmp_path / "runs", "raf", name="bert-nano-raf-s0", layers=2)
    log_coefficients(parent, STEPS)
    for task in ("cola", "rte"):
        finetuned(tmp_path / "runs", parent, task)
    entries = [{"num": [0.1 * k, 1, -0.05], "den": [-0.5, 0.02 * k]} for k in range(13)]
    models = dict.fromkeys(("pretrained/pretrained", "lowresource/cola", "lowresource/rte"), entries)
    (tmp_path / "published.json").write_text(json.dumps({"models": models}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "activation-figures.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(commands) > 10
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}: {done.exception}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "step"}, "--by: --form curves has no panels by step (known: layer, model)"),
        ({"form": "drift", "by": "layer"}, "--by: --form drift has no panels by layer (leave it out)"),
        ({"form": "training", "run": [], "coefficients": ["x.json"]}, "--form training draws one run"),
        ({"form": "training", "run": []}, "give runs, --where or --coefficients: one of the three"),
        (
            {"run": [], "where": "activation=gelu"},
            "--where: no run matches (actbench runs list shows them)",
        ),
        (
            {"form": "training", "pretrained": "x.json"},
            "--pretrained: only --coefficients need it: a run knows where it began",
        ),
        ({"pretrained": "x.json"}, "--pretrained: only --coefficients need it: a run knows where it began"),
        ({"coefficients": ["x.json"]}, "give runs, --where or --coefficients: one of the three"),
        ({"slot": ["layers.7"], "form": "drift"}, "--slot: there is no slot 'layers.7' (did you mean 'layers.2'?)"),
    ],
)
def test_what_does_not_fit_together_is_told(run: Run, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    given = {"run": [run.id], "runs": run.folder.parent, "output": tmp_path / "f.svg", **options}
    with pytest.raises(BadInput) as caught:
        activations(**given)
    assert str(caught.value) == said
    assert not (tmp_path / "f.svg").exists()


def test_a_run_that_cannot_be_read_is_told_and_left_out(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = fake_runs.pretrain(run.folder.parent, "raf", 7)
    (damaged.folder / "run.json").write_text("{")
    activations(run=[], where="kind=pretrain", runs=run.folder.parent, output=tmp_path / "f.svg")
    assert f"left out: {damaged.id}: " in capsys.readouterr().err and (tmp_path / "f.svg").is_file()
