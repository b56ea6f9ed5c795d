"""A claim's verdict follows from the paired differences, whichever way they go; and when it was stated, is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import fake_runs
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from actbench.analysis.claims import Claim, Finding, Judgement, judge
from actbench.analysis.comparisons import compare
from actbench.analysis.statements import Statement
from actbench.errors import BadInput
from actbench.report.stated_words import in_time, too_late
from actbench.store import Run
from actbench.study import Graph, Study, report_study, run_study
from actbench.study.graph import Node
from actbench.study.tasks import Task

NOISE = (0.01, -0.012, 0.008, -0.009, 0.011, -0.007)


def runs_of(root: Path, shift: float, seeds: int = 6, name: str = "bert-nano") -> list[Run]:
    """GELU at 5 nats, and RAF that differs from it by `shift` and a little noise, paired; a model for each name."""
    steps = 200 if name == "bert-nano" else 240
    return [
        fake_runs.pretrain(root, activation, seed, loss=loss, name=name, steps=steps)
        for seed in range(seeds)
        for activation, loss in (("gelu", 5.0), ("raf", 5.0 + shift + NOISE[seed]))
    ]


def verdict(runs: Sequence[Run], **claim: Any) -> Judgement:
    """What the runs say of a claim about RAF."""
    return judge(Claim(**{"text": "t", "activation": "raf", **claim}), compare(runs, "gelu"))


def only(judgement: Judgement) -> Finding:
    (finding,) = judgement.findings
    return finding


@pytest.mark.parametrize(
    ("shift", "claim", "expected"),
    [
        (-0.05, {}, "supported"),
        (0.05, {}, "refuted"),
        (0.0, {}, "not supported"),
        (0.05, {"direction": "higher"}, "supported"),
        (-0.05, {"margin": 0.02}, "supported"),
        (-0.05, {"margin": 0.045}, "not supported"),  # the mean goes beyond it, the interval does not
        (-0.05, {"margin": 0.1}, "refuted"),  # so large a difference is ruled out
        (0.0, {"margin": 0.05}, "refuted"),
    ],
)
def test_a_claim_is_judged_by_its_difference(
    tmp_path: Path, shift: float, claim: dict[str, Any], expected: str
) -> None:
    judgement = verdict(runs_of(tmp_path, shift), **claim)
    assert judgement.verdict == only(judgement).verdict == expected


def test_the_test_is_the_paired_t_test_against_the_margin(tmp_path: Path) -> None:
    found = only(verdict(runs_of(tmp_path, -0.05), margin=0.04)).p_value
    differences = -0.05 + np.array(NOISE)
    assert found == pytest.approx(stats.ttest_1samp(differences, -0.04).pvalue)


def test_correction_counts_all_comparisons_of_the_report(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, -0.05)
    alone = only(verdict(runs)).p_value
    runs += [fake_runs.pretrain(tmp_path, "silu", seed, loss=5 + NOISE[seed]) for seed in range(6)]
    assert alone is not None
    assert only(verdict(runs)).p_value == pytest.approx(2 * alone)


def test_few_seeds_judge_nothing_however_clear_they_look(tmp_path: Path) -> None:
    judgement = verdict(runs_of(tmp_path, -0.5, seeds=5))
    assert judgement.verdict == "cannot be judged" and only(judgement).why == "too few seeds"


def test_a_claim_is_about_every_model_it_names(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, -0.05) + runs_of(tmp_path, 0.0, name="gpt-small")
    judgement = verdict(runs)
    assert judgement.verdict == "not supported"
    assert [finding.verdict for finding in judgement.findings] == ["supported", "not supported"]
    assert verdict(runs, model="bert-nano").verdict == "supported"
    few = runs_of(tmp_path / "few", -0.05) + runs_of(tmp_path / "few", -0.5, seeds=3, name="gpt-small")
    assert verdict(few).verdict == "cannot be judged"


def test_a_task_is_judged_by_its_scores_and_higher_is_claimed(tmp_path: Path) -> None:
    parents = runs_of(tmp_path, -0.05)
    tuned = [
        fake_runs.finetune(tmp_path, parent, score=0.70 if parent.activation == "gelu" else 0.75 + NOISE[parent.seed])
        for parent in parents
    ]
    runs = [*parents, *tuned]
    assert verdict(runs, task="sst2").verdict == "supported"
    assert verdict(runs, task="sst2", margin=10).verdict == "refuted"
    assert verdict(runs, task="sst2", direction="lower").verdict == "refuted"
    assert "did you mean 'sst2'?" in only(verdict(runs, task="sst")).why


def test_equal_differences_have_no_test(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, a, s, loss=5 - (a == "raf")) for a in ("gelu", "raf") for s in range(6)]
    assert only(verdict(runs)).why == "equal differences: no interval"


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ({"activation": "ralf"}, "did you mean 'raf'?"),
        ({"activation": "gelu"}, "it is the baseline itself"),
        ({"model": "bert-nana"}, "did you mean 'bert-nano'?"),
        ({"task": "sst2"}, "no finished run on any task"),
    ],
)
def test_what_was_not_run_is_said(tmp_path: Path, claim: dict[str, Any], why: str) -> None:
    judgement = verdict(runs_of(tmp_path, -0.05), **claim)
    assert judgement.verdict == "cannot be judged" and why in only(judgement).why


def test_without_a_baseline_there_is_no_verdict(tmp_path: Path) -> None:
    runs = [run for run in runs_of(tmp_path, -0.05) if run.activation == "raf"]
    judgement = verdict(runs)
    assert judgement.verdict == "cannot be judged" and "gelu" in only(judgement).why


@pytest.mark.parametrize("wrong", [{"margin": -1.0}, {"direction": "better"}, {"text": ""}, {"marign": 0.1}])
def test_a_claim_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Claim(**{"text": "t", "activation": "raf", **wrong})


# When it was stated.

RAF = {"text": "RAF is better.", "activation": "raf"}
HIGHER = {**RAF, "direction": "higher"}
BESIDES = [{"activation": "raf", "against": "swiglu"}, {"activation": "raf", "against": "relu"}]


@dataclass
class Copies:
    """A launcher that finishes a run by copying it from a folder in which it is finished."""

    done: Path
    runs: Path
    queue: list[Task] = field(default_factory=list)

    def submit(self, tasks: Sequence[Task]) -> None:
        self.queue += tasks

    def ended(self) -> list[tuple[Task, str]]:
        task = self.queue.pop(0)
        shutil.copytree(self.done / task.run_ids[0], self.runs / task.run_ids[0])
        return [(task, "")]

    def stop(self, signal_number: int) -> None:
        self.queue.clear()


@dataclass
class FakeStudy:
    """A study of twelve runs that are finished elsewhere, and do not stand among its own until it is run."""

    root: Path

    def __post_init__(self) -> None:
        self.made = runs_of(self.root / "done", -0.05)

    def graph(self, **asked: Any) -> Graph:
        text = {"name": "mine", "title": "t", "experiments": [{"recipe": "r.yaml", "axes": {}}], **asked}
        plans = [SimpleNamespace(folder=self.root / "runs" / run.id, recipe=run.info["recipe"]) for run in self.made]
        return Graph(Study(**text), tuple(Node(cast(Any, plan), ()) for plan in plans), self.root / "runs")

    def run(self, **asked: Any) -> str:
        graph = self.graph(**asked)
        run_study(graph, Copies(self.root / "done", graph.runs), lambda _: None)
        return self.page

    def report(self, **asked: Any) -> str:
        report_study(self.graph(**asked), lambda _: None)
        return self.page

    @property
    def page(self) -> str:
        return (self.root / "runs" / "mine" / "report.md").read_text(encoding="utf-8")

    @property
    def stated(self) -> Path:
        return self.root / "runs" / "mine" / "stated.json"


@pytest.fixture
def study(tmp_path: Path) -> FakeStudy:
    (tmp_path / "runs").mkdir()
    return FakeStudy(tmp_path)


def test_a_claim_stated_before_the_runs_is_called_so(study: FakeStudy) -> None:
    page = study.run(claim=RAF)
    (kept,) = json.loads(study.stated.read_text())["statements"]
    assert kept["finished"] == 0 and kept["baseline"] == "gelu" and kept["claim"]["text"] == RAF["text"]
    said = f"Stated on {kept['time'][:10]}, before the first run was finished."
    assert said in page and said in study.stated.with_name("report.html").read_text() and "were finished" not in page
    before = study.stated.read_bytes()
    assert study.run(claim={**RAF, "direction": "lower"}) == page, "the default written out is the same claim"
    assert study.stated.read_bytes() == before


def test_a_claim_turned_round_after_the_runs_leaves_a_trace(study: FakeStudy) -> None:
    """Be it turned for a report alone, and be it turned back."""
    study.run(claim=RAF)
    first = json.loads(study.stated.read_text())["statements"]
    told = "The claim was changed after 12 of the study's runs were finished."
    reported = study.report(claim=HIGHER)
    assert told in reported and "Refuted" in reported and "Stated on" not in reported
    assert "Stated on" in study.report(claim=RAF), "what was asked first is still as it was asked"
    assert told in study.run(claim=HIGHER)
    kept = json.loads(study.stated.read_text())["statements"]
    assert kept[:1] == first and [one["finished"] for one in kept] == [0, 12]
    page = study.run(claim=RAF)
    assert told in page and "Stated on" not in page


def test_a_claim_stated_after_some_runs_is_told(study: FakeStudy) -> None:
    for run in study.made[:3]:
        shutil.copytree(run.folder, study.root / "runs" / run.id)
    page = study.run(claim=RAF, comparisons=BESIDES)
    assert "The claim and the comparisons were stated after 3 of the study's runs were finished." in page
    assert "Stated on" not in page


def test_a_study_that_states_nothing_keeps_nothing_and_an_older_one_is_not_blamed(study: FakeStudy) -> None:
    study.run()
    assert not study.stated.exists()
    page = study.report(claim=RAF)
    assert "Stated on" not in page and "runs were finished" not in page and not study.stated.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"statements": []}', '{"statements": [{"finished": 0}]}'])
def test_a_damaged_record_is_refused_before_anything_runs(study: FakeStudy, text: str) -> None:
    study.stated.parent.mkdir()
    study.stated.write_text(text)
    with pytest.raises(BadInput, match=r"stated\.json: damaged: .*remove it"):
        study.run(claim=RAF)
    assert not study.graph(claim=RAF).finished() and study.stated.read_text() == text


def statement(finished: int, day: int = 1, **asked: Any) -> Statement:
    time = datetime(2026, 3, day, 23, 59, tzinfo=UTC)
    return Statement(**{"time": time, "finished": finished, "baseline": "gelu", **asked})


@pytest.mark.parametrize(
    ("statements", "early", "late"),
    [
        ([], "", []),
        ([statement(0, claim=RAF), statement(0, 2, claim=HIGHER)], "2026-03-02", []),
        ([statement(0, claim=RAF), statement(0, 2, claim=RAF, comparisons=BESIDES)], "2026-03-01", []),
        (
            [statement(0, claim=RAF), statement(1, claim=RAF, comparisons=BESIDES)],
            "2026-03-01",
            ["The comparisons were stated after 1 of the study's runs was finished."],
        ),
        ([statement(0, comparisons=BESIDES), statement(5, comparisons=BESIDES[::-1])], "", []),
        (
            [statement(0, claim=RAF), statement(2, claim=RAF, baseline="silu")],
            "",
            ["The baseline was changed after 2 of the study's runs were finished."],
        ),
        (  # runs that were removed had been there to be read
            [statement(0, claim=RAF), statement(4, claim=HIGHER), statement(0, claim=RAF)],
            "",
            ["The claim was changed after 4 of the study's runs were finished."],
        ),
        (
            [statement(0, claim=RAF), statement(2), statement(3, claim=HIGHER)],
            "",
            [
                "The claim was withdrawn after 2 of the study's runs were finished.",
                "The claim was stated after 3 of the study's runs were finished.",
            ],
        ),
    ],
)
def test_each_change_is_told_by_what_was_known_then(statements: list[Statement], early: str, late: list[str]) -> None:
    assert in_time(statements) == (f"Stated on {early}, before the first run was finished." if early else "")
    assert too_late(statements) == late
