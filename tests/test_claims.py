"""A claim's verdict follows from the paired differences, whichever way they go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from actbench.analysis.claims import Claim, Finding, Judgement, judge
from actbench.analysis.comparisons import compare
from actbench.store import Run

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
