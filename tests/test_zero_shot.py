"""A zero-shot evaluation from the command line and in a study: kept as a run, found again, compared by seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_runs
import pytest
import request_files as files
from conftest import ROOT
from studies import carry_out, planned

from actbench.analysis.claims import Claim, judge
from actbench.analysis.comparisons import compare
from actbench.analysis.over_tasks import over_tasks
from actbench.errors import BadInput
from actbench.evaluation.zero_shot_plan import find_tasks
from actbench.report.caveats import caveats
from actbench.report.zero_shot_table import zero_shot_table
from actbench.store import Run, claim, list_runs

TASKS = "pick,lambada,blimp"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a task of each kind."""
    return files.choices(files.last_words(files.pairs(tmp_path / "eval")))


def study_of(study_file: Any, tiny_recipe: Any, data: Path, **more: Any) -> Path:
    """GELU and ReLU in a tiny GPT, scored on all tasks."""
    tiny_recipe("gpt", budget={"steps": 3})
    follow_up = {"eval": "zero-shot", "tasks": TASKS.split(","), "data": str(data), **more}
    axes = {"model.activation.name": ["gelu", "relu"]}
    return study_file(experiments=[{"recipe": "gpt.yaml", "axes": axes, "follow_ups": [follow_up]}])


def test_a_study_scores_its_decoders_and_a_command_finds_the_runs(
    study_file: Any, tiny_recipe: Any, data: Path, actbench: Any, tmp_path: Path
) -> None:
    path = study_of(study_file, tiny_recipe, data)
    outcome = carry_out(path)
    assert not outcome.failed and outcome.finished == 2 + 6 and outcome.report is not None
    page = outcome.report.with_name("report.md").read_text()
    assert "Zero-shot over all tasks" in page and "blimp (subset)" in page and "2 of 67 paradigms" in page
    assert carry_out(path).finished == 8

    parent = planned(path).nodes[0].run
    before = {run.id: (run.folder / "manifest.json").stat().st_mtime_ns for run in list_runs(tmp_path / "runs")}
    done = actbench("eval", "zero-shot", parent.id, "--tasks", TASKS, "--data", data, "--json", check=0)
    results = {result["task"]: result for result in json.loads(done.stdout)["results"]}
    after = {run.id: (run.folder / "manifest.json").stat().st_mtime_ns for run in list_runs(tmp_path / "runs")}
    assert after == before, "found, not measured again"
    assert [results[name]["subset"] for name in TASKS.split(",")] == [False, True, True]
    assert set(results["pick"]["scores"]) == {"acc", "acc_norm", "acc_bytes"}
    assert results["pick"]["headline"] == {"metric": "acc_norm", "value": results["pick"]["scores"]["acc_norm"]}
    assert results["pick"]["cut_contexts"] == 2 and results["pick"]["split_continuations"] == 1
    assert results["lambada"]["perplexity"] > 1 and set(results["blimp"]["paradigms"]) == set(files.PARADIGMS)
    run = Run(tmp_path / "runs" / results["pick"]["evaluation"])
    assert not run.damaged_files() and run.info["hardware"]["precision"] == "fp32"
    rows = [json.loads(line) for line in (run.folder / "items.jsonl").read_text().splitlines()]
    assert [len(row["log_likelihoods"]) for row in rows] == [2 + i % 3 for i in range(12)]

    few = actbench("eval", "zero-shot", parent.id, "--tasks", "pick", "--data", data, "--limit", 4, check=0)
    assert "pick (subset)" in few.stdout and len(list_runs(tmp_path / "runs")) == len(before) + 1


def test_what_cannot_be_scored_is_refused(actbench: Any, data: Path, tmp_path: Path) -> None:
    bert = fake_runs.pretrain(tmp_path / "runs")
    done = actbench("eval", "zero-shot", bert.id, "--tasks", "pick", "--data", data, check=2)
    assert "is a BERT, and zero-shot evaluation needs a decoder" in done.stderr
    assert list_runs(tmp_path / "runs") == [bert]


def test_tasks_that_are_nowhere_are_all_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actbench.evaluation.zero_shot_plan.find_spec", lambda name: None)
    with pytest.raises(BadInput) as caught:
        find_tasks(["piqa", "lambda", "", "../eval/pick"], data, None)
    told = str(caught.value)
    assert "no folder piqa" in told and "did you mean 'lambada'?" in told and "actbench[eval]" in told
    assert len(caught.value.problems) == 4
    with pytest.raises(BadInput, match="give --data DIR"):
        find_tasks(["lambada"], None, None)
    with pytest.raises(BadInput, match="no such folder"):
        find_tasks(["lambada"], data / "nowhere", None)


def test_a_study_asks_decoders_alone_and_knows_its_data(study_file: Any, tiny_recipe: Any, data: Path) -> None:
    tiny_recipe("bert")
    follow_up = {"eval": "zero-shot", "tasks": ["pick"], "data": str(data)}
    axes = {"model.activation.name": ["gelu"]}
    with pytest.raises(BadInput, match="needs a decoder"):
        planned(study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": [follow_up]}]))
    with pytest.raises(BadInput, match="no folder piqa"):
        planned(study_of(study_file, tiny_recipe, data, tasks=["piqa"]))
    with pytest.raises(BadInput, match="did you mean"):
        planned(study_of(study_file, tiny_recipe, data, limits=3))


def scored(parent: Run, task: str, score: float) -> Run:
    """A made-up evaluation of a fake run."""
    shared = {key: parent.info[key] for key in ("recipe", "model", "hardware", "environment")}
    about = {"name": task, "stand_in": False}
    data = {"hash": task, "subset": task == "piqa", "items": 10, "of": 20}
    with claim(parent.folder.with_name(f"{parent.id}-{task}")) as writer:
        info = {"kind": "evaluate", "measure": "zero-shot", "parent": parent.id, "task": about, "data": data}
        writer.describe({**info, **shared})
        return writer.commit(
            {
                "scores": {"acc": score, "acc_norm": score / 2},
                "standard_errors": {"acc": 0.1, "acc_norm": 0.1},
                "items": 10,
                "headline": {"metric": "acc", "value": score},
                "seconds": 1.0,
            }
        )


def test_scores_are_compared_by_task_and_paired_by_seed(tmp_path: Path) -> None:
    runs = []
    for activation, gain in (("gelu", 0.0), ("raf", 0.02)):
        for seed in range(6):
            parent = fake_runs.pretrain(tmp_path, activation, seed)
            level = gain + seed / 100 + (0.001 * (seed % 2) if gain else 0)
            runs += [parent, scored(parent, "piqa", 0.5 + level), scored(parent, "sciq", 0.3 + level)]
            runs.append(fake_runs.finetune(tmp_path, parent, "piqa"))
    family = compare(runs, "gelu")
    differences = {c.cohort.task: c.difference.mean for c in family.zero_shot if c.difference}
    assert differences == {"piqa": pytest.approx(2.05), "sciq": pytest.approx(2.05)}
    assert {c.cohort.task for c in family.finetuning} == {"piqa"} and len(family.finetuning) == 2
    raf = next(one for one in over_tasks(family.zero_shot) if one.label == "raf")
    assert raf.tasks == ("piqa", "sciq") and raf.improvement is not None and raf.mean_difference is not None
    assert raf.mean_difference.mean == pytest.approx(2.05) and raf.mean_difference.n == 6
    table = zero_shot_table(family).to_text(200)
    assert "piqa (subset)" in table and "acc_norm 26" in table and "sciq (subset)" not in table
    assert any("piqa (10 of 20)" in sentence for sentence in caveats(runs, "gelu"))
    judged = judge(Claim(text="t", activation="raf", task="sciq"), family)
    assert judged.verdict == "supported"


def test_the_page_shows_keys_that_are_read(study_file: Any, tiny_recipe: Any, data: Path) -> None:
    """Its follow-up, with a folder that is there."""
    import yaml

    text = (ROOT / "docs" / "zero-shot.md").read_text()
    (follow_up,) = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["follow_ups"]
    assert follow_up.pop("data") == "eval"
    planned(study_of(study_file, tiny_recipe, data, **{**follow_up, "tasks": ["pick"]}))
