"""Named validation sets are recorded beside the held-out loss, and change nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import fake_runs
import pytest

from actbench.analysis.comparisons import compare
from actbench.config import load_recipe
from actbench.report.tables import validation_sets_table
from actbench.store import Run
from actbench.training.plan import plan


@pytest.fixture
def texts(tmp_path: Path, corpus_file: Path) -> dict[str, Any]:
    """A named list of files, and a named corpus."""
    lines = corpus_file.read_text().splitlines(keepends=True)
    (tmp_path / "prose.jsonl").write_text("".join(lines[:40]))
    (tmp_path / "sums.txt").write_text(" ".join(f"{n} + {n} = {2 * n}." for n in range(300)))
    return {
        "prose": [str(tmp_path / "prose.jsonl")],
        "sums": {"source": "files", "files": [str(tmp_path / "sums.txt")]},
    }


def test_sets_are_recorded_and_change_no_weight(actbench: Any, tiny_recipe: Any, texts: Any, tmp_path: Path) -> None:
    with_sets = {"fraction": 0.1, "sequences": 16, "every_steps": 5, "sets": texts}
    runs = []
    for validation in ({}, with_sets):
        done = actbench("pretrain", "-r", tiny_recipe("gpt", validation=validation), "--json", check=0)
        runs.append(Run(tmp_path / "runs" / json.loads(done.stdout)["run"]))
    plain, named = runs
    assert plain.id != named.id, "what is recorded is part of a run's identity"
    same = [one.manifest["files"]["model.safetensors"] for one in runs if one.manifest]
    assert same[0] == same[1]
    rows = [row for row in named.metrics() if row["kind"] == "validation_set"]
    assert [(row["step"], row["set"]) for row in rows] == [(s, n) for s in (5, 10, 12) for n in ("prose", "sums")]
    found = named.summary["validation_sets"]
    assert found["sums"] == {"loss": rows[-1]["loss"], "perplexity": pytest.approx(math.exp(rows[-1]["loss"]))}
    assert found["sums"]["loss"] > found["prose"]["loss"]
    kept = [[row for row in run.metrics() if row["kind"] == "validation"] for run in runs]
    assert [row["loss"] for row in kept[0]] == [row["loss"] for row in kept[1]]
    assert named.info["data"]["validation_sets"]["prose"]["documents"] == 40
    assert "prose loss" in done.stderr
    shown = actbench("runs", "show", named.id, check=0).stdout
    assert "validation sets" in shown and "sums loss" in " ".join(shown.split())
    by_set = actbench("runs", "list", "--columns", "run,validation_sets.sums.loss", "--json", check=0).stdout
    assert found["sums"]["loss"] in [row["validation_sets.sums.loss"] for row in json.loads(by_set)["runs"]]
    (row, *_) = validation_sets_table(compare([named], "gelu")).rows
    assert row.values["set"] == "prose" and row.values["loss"]["mean"] == found["prose"]["loss"]


def test_a_sets_text_counts_and_its_path_does_not(tiny_recipe: Any, texts: Any, tmp_path: Path) -> None:
    def folder(**sets: Any) -> str:
        recipe = load_recipe(tiny_recipe("gpt", validation={"sets": sets}))
        return plan(recipe, tmp_path / "runs", lambda _: None).folder.name

    first = folder(prose=texts["prose"])
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(Path(texts["prose"][0]).read_bytes())
    assert folder(prose=[str(moved)]) == first
    assert folder(other=texts["prose"]) != first
    moved.write_text(json.dumps({"text": "a river and a stone " * 30}))
    assert folder(prose=[str(moved)]) != first


def test_a_set_that_is_too_short_is_named(actbench: Any, tiny_recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("A river.")
    recipe = tiny_recipe("gpt", validation={"sets": {"short": [str(tmp_path / "short.txt")]}})
    said = actbench("pretrain", "-r", recipe, "--dry-run", check=2).stderr
    assert "validation.sets.short: the text is shorter than one sequence" in said


def test_a_set_that_is_missing_is_told_before_the_corpus_is_packed(
    actbench: Any, tiny_recipe: Any, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("A river.")
    recipe = tiny_recipe("gpt", validation={"sets": {"gone": [str(tmp_path / "shorter.txt")]}})
    said = actbench("data", "prepare", "-r", recipe, check=2).stderr
    assert "shorter.txt: validation.sets.gone: no such file" in said and "short.txt" in said
    assert "packing" not in said


def test_runs_without_sets_have_no_table(tmp_path: Path) -> None:
    assert validation_sets_table(compare([fake_runs.pretrain(tmp_path / "runs")], "gelu")).rows == ()


def with_set(root: Path, seed: int, loss: float | None, text: str = "a") -> Run:
    """A made-up run; no loss: one that was not validated on the set."""
    run = fake_runs.pretrain(root, seed=seed)
    if loss is not None:
        run.info["data"]["validation_sets"] = {"q": {"hash": text}}
        assert run.manifest is not None
        run.manifest["summary"]["validation_sets"] = {"q": {"loss": loss, "perplexity": math.exp(loss)}}
    return run


def test_a_row_is_of_one_text_and_of_those_that_were_measured_on_it(tmp_path: Path) -> None:
    losses = {1: (3.0, "aaaa1"), 2: (3.5, "aaaa1"), 3: (5.0, "bbbb2")}
    runs = [with_set(tmp_path, 0, None), *(with_set(tmp_path, seed, *found) for seed, found in losses.items())]
    rows = validation_sets_table(compare(runs, "gelu")).rows
    assert [(row.values["set"], row.values["loss"]["mean"], row.cells[3]) for row in rows] == [
        ("q", pytest.approx(3.25), "2"),
        ("q #bbbb", 5.0, "1"),
    ]
