"""Analyses through the installed command and as a study's follow-ups: kept, found again, and part of the report."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import fake_runs
import pytest
from studies import carry_out, planned
from test_docs import commands

from actbench.analysis.comparisons import compare
from actbench.analysis.findings import analyses, findings
from actbench.errors import BadInput
from actbench.evaluation.analyses import analyze, plan_analysis
from actbench.report.provenance import runs_table
from actbench.store import Run, list_runs
from actbench.study import load_study

FOLLOW_UPS = [{"analyze": "rank"}, {"analyze": "similarity", "sequences": 4}, {"analyze": "activity", "sequences": 4}]


@pytest.mark.timeout(120)
def test_a_study_analyses_its_models_once_and_reports_it(study_file, tiny_recipe, tmp_path: Path) -> None:
    for family in ("gpt", "bert"):
        tiny_recipe(family, budget={"steps": 2}, validation={"every_steps": 2})
    activations = {"model.activation.name": ["gelu", "poly_relu"]}
    path = study_file(
        experiments=[
            {"recipe": "gpt.yaml", "axes": {"seed": [0, 1]}, "follow_ups": FOLLOW_UPS},
            {"recipe": "bert.yaml", "axes": activations, "follow_ups": FOLLOW_UPS},
        ]
    )
    outcome = carry_out(path)
    assert outcome.failed == {} and outcome.finished == 4 * 4
    folder, runs = tmp_path / "runs" / "small", list_runs(tmp_path / "runs")
    _is_reported(folder)
    _is_over_seeds(runs)
    assert len(compare(runs, "gelu").all) == 3, "an analysis is no result to compare"
    rows = {(row.values["kind"], row.values["result"]) for row in runs_table(runs, "gelu").rows}
    assert ("analyze rank", None) in rows

    before = {run.id: (run.folder / "manifest.json").stat().st_mtime_ns for run in runs}
    said: list[str] = []
    carry_out(path, said=said)
    assert said[0] == "finished runs: 16; tasks to do: 0"
    assert {id_: (tmp_path / "runs" / id_ / "manifest.json").stat().st_mtime_ns for id_ in before} == before
    run = planned(path).nodes[0].run
    assert analyze(plan_analysis(run, "rank", None, tmp_path / "runs"), print).id in before
    other = plan_analysis(run, "similarity", None, tmp_path / "runs", sequences=5)
    assert other.run.id not in before, "another number of sequences is another question"


def _is_reported(folder: Path) -> None:
    assert 'id="analyses"' in (folder / "report.html").read_text()
    text = (folder / "report.md").read_text()
    assert "## Analyses" in text and "Speed-ups beside gelu" in text
    tables = json.loads((folder / "tables.json").read_text())["tables"]
    (ranks,) = (table for table in tables if table["title"].startswith("Rank of the feed-forward"))
    assert len(ranks["rows"]) == 3 * 2, "in and out of each variant"
    assert sorted(row["seeds"] for row in ranks["rows"]) == [1, 1, 1, 1, 2, 2]
    assert len(list((folder / "figures").glob("analysis-*.svg"))) == 2 * (1 + 2 + 2), "for each model"


def _is_over_seeds(runs: list[Run]) -> None:
    ((_, text, ranks), (_, named, similar), (_, _, active)) = analyses(runs)
    assert (text, named) == (None, "held-out documents")
    (one,) = (found for found in findings(ranks) if len(found.runs) == 2)
    seeds = one.each_seed()
    each = [seed["layers.1", "out"]["stable_rank"] for seed in seeds]
    assert one.by_place()["layers.1", "out"]["stable_rank"].mean == pytest.approx(sum(each) / 2)
    layers = [seed[f"layers.{i}", "in"]["stable_rank"] for seed in seeds for i in (0, 1)]
    assert one.over_layers()[("in",)]["stable_rank"].mean == pytest.approx(sum(layers) / 4)
    one = findings(similar)[0]
    cosines = one.results[0]["cosines"]
    assert one.each_seed()[0]["layers.1",]["cosine"] == cosines[1][2] and cosines[2][2] == pytest.approx(1)
    assert findings(active)[0].results[0]["tokens"] == 4 * 32


def test_the_commands_of_the_page_work(actbench, tiny_recipe, tmp_path: Path) -> None:
    for activation in ("relu", "poly_relu"):
        recipe = tiny_recipe("gpt", name="gpt-nano", logging={"ranks": True})
        actbench("pretrain", "-r", recipe, "--set", f"model.activation.name={activation}", check=0)
    found = [shlex.split(command) for command in commands("docs/analyses.md")]
    assert {words[2] for words in found if words[1] == "analyze"} == {
        *("rank", "similarity", "coefficients", "activity", "approximation")
    }  # fmt: skip
    for words in found:
        if words[2] == "activity":
            assert "dead units" in actbench(*words[1:], check=0).stdout
            assert "<svg" in (tmp_path / "activity-histograms.svg").read_text()
            continue
        machine = [] if words[1] == "plot" else ["--json"]
        facts = json.loads(actbench(*words[1:], *machine, check=0).stdout or "{}")
        for file in facts.get("output", []):
            assert "<svg" in (tmp_path / file).read_text()
        if words[2] == "rank":
            assert facts["output"] == ["rank.svg", "rank-training.svg"]
            assert {row["step"] for row in facts["training"]} == {0, 5, 10, 12}
            assert "effective_rank" in (tmp_path / "rank.csv").read_text()
            (head, *logged) = list(csv.DictReader((tmp_path / "rank-training.csv").open()))
            assert len(logged) + 1 == len(facts["training"])
            assert float(head["stable_rank"]) == facts["training"][0]["stable_rank"]
        if words[2] == "approximation":
            assert "slope" in (tmp_path / "approximation.csv").read_text()
            errors = list(csv.DictReader((tmp_path / "approximation-errors.csv").open()))
            assert {row["size"] for row in errors} == {"16", "32"} and float(errors[0]["largest.0"]) > 0


def test_what_cannot_be_analysed(actbench, tmp_path: Path) -> None:
    unfinished = fake_runs.pretrain(tmp_path / "runs", finished=False)
    finished = fake_runs.pretrain(tmp_path / "runs", "raf")
    tuned = fake_runs.finetune(tmp_path / "runs", finished)
    for run, why in ((unfinished, "not finished"), (tuned, "not a pre-training run")):
        with pytest.raises(BadInput, match=why):
            plan_analysis(run, "rank", None, tmp_path / "runs")
    assert "no such file" in actbench("analyze", "activity", finished.id, "--corpus", "none.txt", check=2).stderr
    assert "logged no coefficients" in actbench("analyze", "coefficients", finished.id, check=2).stderr
    assert "a.gif" in actbench("analyze", "rank", finished.id, "-o", "a.gif", check=2).stderr


@pytest.mark.parametrize(
    ("follow_up", "expected"),
    [
        ({"analyze": "ranks"}, "did you mean 'rank'?"),
        ({"analyze": "rank", "sequences": 3}, "no text is read"),
        ({"analyze": "similarity", "sequence": 3}, "did you mean 'experiments.0.follow_ups.0.sequences'?"),
    ],
)
def test_a_follow_up_that_means_nothing(study_file, tiny_recipe, follow_up: dict[str, object], expected: str) -> None:
    tiny_recipe("gpt")
    path = study_file(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0]}, "follow_ups": [follow_up]}])
    with pytest.raises(BadInput) as caught:
        load_study(path)
    assert expected in str(caught.value)
