"""Published coefficients: a file of them starts a model's activations, and is drawn a panel a layer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raf_definition import naive

from actbench.activations import create, expand
from actbench.activations.coefficients import read
from actbench.analysis.coefficient_curves import coefficient_curves
from actbench.analysis.model_curves import curves_of_files
from actbench.errors import BadInput
from actbench.report.figures import plot_by_layer

# f(x) = (0.1 k + x - 0.05 x^2) / (1 + |0.5 x| + |0.02 k x^2|) at k = 1, x = -2, 0.5 and 3.5, worked out by hand.
FIRST = {-2.0: -2.1 / 2.08, 0.5: 0.5875 / 1.255, 3.5: 2.9875 / 2.995}


def entry(k: int) -> dict[str, list[float]]:
    return {"num": [0.1 * k, 1, -0.05], "den": [-0.5, 0.02 * k]}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Twelve layers and a pooler, as RAFT's coefficients were published, and a model without a pooler."""
    path = tmp_path / "published.json"
    models = {"full/cola": [entry(k) for k in range(1, 14)], "full/squad": [entry(k) for k in range(2, 14)]}
    path.write_text(json.dumps({"about": "Made up.", "models": models}), encoding="utf-8")
    return path


def one_entry(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "one.json"
    data = {"version": "C", "models": {"mine": [{"num": [1, 2], "den": [0.5, 1, 2]}]}, **changes}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def words(path: Path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


# As a start.


def test_every_slot_gets_its_own_numbers(published: Path) -> None:
    sets = expand("raf", {"init": f"{published}:full/cola", "sharing": "channel"})
    assert len(sets) == 13
    assert sets[4] == {
        "sharing": "channel", "version": "A", "degrees": [2, 2],
        "numerator": [0.5, 1.0, -0.05], "denominator": [-0.5, 0.1],
    }  # fmt: skip
    module = create("raf", width=4, **sets[0]).double()
    got = module(torch.tensor(list(FIRST), dtype=torch.float64)[:, None].expand(-1, 4))[:, 0]
    torch.testing.assert_close(got.detach(), torch.tensor(list(FIRST.values()), dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_single_entry_serves_all_slots(tmp_path: Path) -> None:
    path = one_entry(tmp_path)
    (options,) = expand("raf", {"init": str(path)})
    assert options == {"version": "C", "degrees": [1, 2], "numerator": [1.0, 2.0], "denominator": [0.5, 1.0, 2.0]}
    for more in ({}, {"version": "C"}, {"degrees": [1, 2]}):
        module = create("raf", init=f"{path}:mine", **more)
        assert module(torch.tensor([2.0])).item() == pytest.approx(5 / (0.1 + 0.5 + 2 + 8))


def test_options_without_a_file_stay_as_they_are() -> None:
    for options in ({"init": "relu"}, {"init": 3}, {"numerator": [1.0]}, {}):
        assert expand("raf", options) == [options]


def test_a_recipe_takes_a_file_up(published: Path, tiny_recipe: Callable, actbench: Callable) -> None:
    init = "model.activation={name: raf, init: 'published.json:full/squad'}"
    shown = actbench("recipe", "show", tiny_recipe(), "--set", "model.n_layers=12", "--set", init, "--json", check=0)
    model = json.loads(shown.stdout)["model"]
    assert model["activation"]["numerator"] == [0.2, 1.0, -0.05]
    assert model["activation_overrides"][11]["denominator"] == [-0.5, 0.26]


@pytest.mark.parametrize(
    ("init", "more", "said"),
    [
        ("published.json", {}, "several models: name one as published.json:MODEL (known: full/cola, full/squad)"),
        ("published.json:full/cala", {}, "published.json has no model 'full/cala' (did you mean 'full/cola'?)"),
        ("published.json:full/cola", {}, "these options are for 13 slots"),
        ("one.json", {"version": "A"}, "version: A contradicts the coefficient file, which has C"),
        ("one.json", {"degrees": (5, 4)}, "degrees: (5, 4) contradicts the coefficient file, which has [1, 2]"),
        ("one.json", {"numerator": [1.0]}, "numerator: [1.0] contradicts the coefficient file"),
        ("none.json", {}, "none.json: No such file or directory"),
        ("broken.json", {}, "broken.json is not JSON: "),
        ("list.json", {}, 'list.json is no coefficient file: it has no "models"'),
    ],
)
def test_what_a_file_cannot_start_is_told(
    published: Path, monkeypatch: pytest.MonkeyPatch, init: str, more: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(published.parent)
    one_entry(published.parent)
    Path("broken.json").write_text("{", encoding="utf-8")
    Path("list.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        create("raf", init=init, **more)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "Z"}, "unknown version 'Z' (known: A, B, C, D, N)"),
        ({"models": {}}, 'it has no "models"'),
        ({"models": {"mine": []}}, "mine: no entries"),
        (
            {"models": {"mine": [{"num": [1], "den": [1]}]}},
            'entry 1: "den" must be a list of finite numbers, at least 2',
        ),
        ({"models": {"mine": [{"num": [1], "den": [1, 2]}, {"den": [1, 2]}]}}, 'entry 2: "num" must be a list'),
        ({"models": {"mine": [{"num": [float("nan")], "den": [1, 2]}]}}, 'entry 1: "num" must be a list of finite'),
        ({"models": {"mine": [{"num": [True], "den": [1, 2]}]}}, 'entry 1: "num" must be a list of finite'),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(f"{one_entry(tmp_path, **changes)}")
    assert said in str(caught.value)


# As a figure.


def test_the_curves_are_those_of_the_coefficients(published: Path) -> None:
    name, entries = read(f"{published}:full/cola")
    curves = coefficient_curves(entries)
    assert name == "full/cola"
    assert [curve.slot for curve in curves] == [*(f"layers.{i}" for i in range(12)), "pooler"]
    assert [curve.slot for curve in coefficient_curves(read(f"{published}:full/squad")[1])][-1] == "layers.11"
    x = curves[0].x
    assert (len(x), x[0], x[-1]) == (800, -4.0, pytest.approx(3.99))
    for k, curve in enumerate(curves, start=1):
        expected = naive("A", entry(k)["num"], entry(k)["den"], x)
        np.testing.assert_allclose(curve.final, expected, rtol=0, atol=1e-6)
    at = {point: curves[0].final[np.abs(x - point).argmin()] for point in FIRST}
    assert at == pytest.approx(FIRST, abs=1e-6)
    gelu = np.asarray(torch.nn.functional.gelu(torch.from_numpy(x)))
    assert np.abs(curves[0].initial - gelu)[np.abs(x) <= 3].max() < 0.15  # degrees (2, 2) come no closer


def test_published_coefficients_start_as_published(tmp_path: Path) -> None:
    path = one_entry(tmp_path, version="A", models={"mine": [{"num": [0.0] * 6, "den": [0.0] * 4}]})
    (curve,) = coefficient_curves(read(str(path))[1])
    assert curve.slot == "every layer"
    assert curve.initial[700] == pytest.approx(2.995818035560, abs=1e-6)  # RAFT's start at 3
    assert not curve.final.any()


def test_a_panel_a_layer_and_a_line_a_model(published: Path, actbench: Callable, tmp_path: Path) -> None:
    models = [f"published.json:full/{name}" for name in ("cola", "squad")]
    arguments = ("--coefficients", models[0], "--coefficients", models[1], "-o", "fig.svg", "--json")
    done = actbench("plot", "activations", *arguments, check=0)
    assert json.loads(done.stdout) == {"output": "fig.svg"}
    said = words(tmp_path / "fig.svg")
    titles = [word for word in said if word.startswith(("Layer", "Pooler"))]
    assert titles == [*(f"Layer {i}" for i in range(1, 13)), "Pooler"]
    assert {"full/cola", "full/squad", "start, like GELU"} <= set(said)
    assert "inputs not sampled" not in said
    drawn = (tmp_path / "fig.svg").read_text(encoding="utf-8")
    assert drawn.count("stroke-dasharray") == 13 + 1  # one start a panel, and the legend's


def test_a_wild_pooler_does_not_flatten_the_layers(published: Path, tmp_path: Path) -> None:
    wild = [*(entry(k) for k in range(1, 13)), {"num": [0, 500, 0], "den": [0, 0]}]
    models = curves_of_files([str(one_entry(tmp_path, version="A", models={"wild": wild}))])
    plot_by_layer(models, tmp_path / "fig.svg")
    ticks = words(tmp_path / "fig.svg")
    assert "2000" in ticks and "2" in ticks and ticks.count("2000") == 1


def test_models_of_one_name_are_told_apart_by_file(published: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_bytes(published.read_bytes())
    plot_by_layer(curves_of_files([f"{path}:full/cola" for path in (published, copy)]), tmp_path / "fig.svg")
    assert {f"{published}:full/cola", f"{copy}:full/cola"} <= set(words(tmp_path / "fig.svg"))


@pytest.mark.parametrize(
    ("reference", "said"),
    [("published.json", "known: full/cola, full/squad"), ("published.json:squad", "did you mean 'full/squad'?"),
     ("published.txt", "'published.txt' names no coefficient file: it is FILE.json or FILE.json:MODEL")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_told(
    published: Path, monkeypatch: pytest.MonkeyPatch, reference: str, said: str
) -> None:
    monkeypatch.chdir(published.parent)
    with pytest.raises(BadInput) as caught:
        curves_of_files([reference])
    assert said in str(caught.value)


@pytest.mark.parametrize("arguments", [(), ("some-run", "--coefficients", "published.json")])
def test_runs_or_coefficients_are_drawn(actbench: Callable, arguments: tuple[str, ...]) -> None:
    done = actbench("plot", "activations", *arguments, check=2)
    assert done.stderr == "error: give runs, --where or --coefficients: one of the three\n"
