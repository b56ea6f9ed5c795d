"""What the docs, `activations show` and `activations hinges` say comes from the activations themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest
import yaml
from conftest import ROOT
from safetensors.numpy import load_file

from actbench.activations import available, create
from actbench.activations.describe import describe, graph
from actbench.cli.braille import draw
from actbench.config import load_recipe
from actbench.config.placement import placement
from actbench.report import catalogue

Command = Callable[..., Any]


def paths(svg: Path) -> list[list[float]]:
    """The numbers of every path of a figure."""
    found = re.findall(r' d="([^"]*)"', svg.read_text(encoding="utf-8"))
    return [[float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)] for path in found]


def test_the_page_in_the_docs_is_what_the_code_says() -> None:
    committed = (ROOT / "docs" / catalogue.PAGE).read_text(encoding="utf-8")
    assert committed == catalogue.page(catalogue.catalogue()), "run `make docs`"


@pytest.mark.parametrize("name", available())
def test_the_figure_in_the_docs_is_what_the_code_draws(name: str, tmp_path: Path) -> None:
    drawn, committed = tmp_path / "new.svg", ROOT / "docs" / catalogue.FIGURES / f"{name}.svg"
    catalogue.draw(name, drawn)
    now, then = paths(drawn), paths(committed)
    assert [len(numbers) for numbers in now] == [len(numbers) for numbers in then], "run `make docs`"
    for new, old in zip(now, then, strict=True):
        np.testing.assert_allclose(new, old, atol=0.01, err_msg="run `make docs`")


def test_no_figure_is_of_an_activation_that_is_gone() -> None:
    assert {path.stem for path in (ROOT / "docs" / catalogue.FIGURES).iterdir()} == set(available())


def test_writing_the_docs_makes_the_page_and_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "available", lambda: ["gelu", "poly_norm"])
    written = catalogue.write(tmp_path)
    page = (tmp_path / "activations.md").read_text(encoding="utf-8")
    assert [path.exists() for path in written] == [True, True, True]
    for link in re.findall(r"!\[[^]]*\]\((.*?)\)", page):
        assert (tmp_path / link).is_file()
    first = written[1].read_bytes()
    catalogue.write(tmp_path)
    assert written[1].read_bytes() == first


@pytest.mark.parametrize("name", available())
def test_every_activation_is_fully_described(name: str) -> None:
    facts = describe(name)
    assert facts.about and facts.formula and facts.family and re.search(r"\b(19|20)\d\d$", facts.citation)
    assert all(parameter.symbol for parameter in facts.coefficients), "a parameter lacks its symbol"
    assert facts.formula.count("{") == facts.formula.count("}")
    x, y = graph(create(name))
    assert x.shape == y.shape and y.isfinite().all()


def test_a_description_tells_options_as_a_recipe_writes_them() -> None:
    options = {option.name: (option.default, option.allowed) for option in describe("poly_norm").options}
    assert options["order"] == ("3", "integer at least 1 at most 16")
    assert options["norm"] == ('"rms"', "rms or l2") and options["eps"] == ("1e-06", "number at least 0")
    assert "width" not in {option.name for option in describe("swish_beta").options}
    assert describe("poly_norm", {"order": 2}).count == 3 and describe("swish_beta", {"sharing": 3}).count == 3


def test_a_curve_is_drawn_where_it_runs() -> None:
    lines = draw([(-4.0, 0.0), (0.0, 0.0), (4.0, 4.0)], columns=22, rows=4)
    assert [line[:2] for line in lines] == ["4 ", "  ", "  ", "0 ", "  "] and lines[4].split() == ["-4", "4"]
    assert max(map(len, lines)) == 22
    assert lines[0][-1] != chr(0x2800) and lines[0][2] == chr(0x2800)  # high at the right, empty at the left
    assert lines[3][2] == chr(0x28C0) and lines[3][-1] != chr(0x28C0)  # both bottom dots at the left
    assert set("".join(lines[:4])) - set(" 04") <= {chr(code) for code in range(0x2800, 0x2900)}


def test_show_prints_formula_curve_starts_options_and_source(actbench: Command) -> None:
    text = actbench("activations", "show", "poly_norm", "--set", "order=2", check=0, COLUMNS="44").stdout
    assert text.startswith("poly_norm\n") and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 44 and text.count("⠀") > 100
    words = " ".join(text.split())
    known = [
        "at first 0.5, 0.5",
        "option order = 3",
        "weight decay 0",
        "arXiv 2411.03884",
        "whole rows",
        "FLOPs an element",
    ]
    for said in (r"\frac{u}{\sqrt{\overline{u^2} + \epsilon}}", *known):
        assert said in words, said


def test_show_answers_machines_and_refuses_wrong_options(actbench: Command) -> None:
    facts = json.loads(actbench("activations", "show", "swiglu", "--json", check=0).stdout)
    assert facts["gated"] and facts["coefficients"] == [] and facts["citation"] == "Shazeer 2020"
    assert len(facts["curve"]["x"]) == len(facts["curve"]["y"]) == 401
    assert facts["curve"]["y"][-1] == pytest.approx(4 / (1 + np.exp(-4)), abs=1e-5)
    refused = actbench("activations", "show", "poly_norm", "--set", "oder=2", check=2)
    assert refused.stderr == "error: poly_norm.oder: unknown option (did you mean 'order'?)\n"


def test_hinges_are_placed_by_a_runs_inputs_and_stand_in_a_recipe(actbench: Command, tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path / "runs", "gelu", layers=2)
    printed = actbench("activations", "hinges", run.id, "--count", "3", check=0).stdout
    placed = json.loads(actbench("activations", "hinges", run.id, "--count", "3", "--json", check=0).stdout)
    assert yaml.safe_load(printed)["model"] == placed
    sizes = np.sort(np.abs(load_file(run.folder / "activation_inputs.safetensors")["layers.1"]).ravel())
    expected = [0.0, sizes[len(sizes) // 3], sizes[len(sizes) * 2 // 3]]
    [first] = [item for item in placed["activation_overrides"] if item.get("layers") == 1]
    assert first["name"] == "splash" and first["hinges"] == pytest.approx(expected, rel=1e-5)
    recipe = tmp_path / "splash.yaml"
    recipe.write_text(f"extends: {ROOT}/recipes/nano/bert.yaml\n{printed}")
    slots = placement(load_recipe(recipe).model)
    assert slots["layers.1"].options["hinges"] == first["hinges"] and slots["layers.3"].name == "gelu"


def test_hinges_need_a_run_that_sampled_its_inputs(actbench: Command, tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path / "runs", "gelu", finished=False)
    refused = actbench("activations", "hinges", run.id, check=2)
    assert "kept no sample of its activations' inputs" in refused.stderr
