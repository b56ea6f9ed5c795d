"""`runs compare`: what two runs differ in, and whether they are a pair."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import finetune, pretrain

from actbench.analysis.compare import compare
from actbench.config.resolve import read_recorded
from actbench.errors import BadInput
from actbench.report.caveats import caveats

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_pair_differs_in_the_activation_alone(tmp_path: Path) -> None:
    found = compare(pretrain(tmp_path, "gelu", loss=4.0), pretrain(tmp_path, "raf", loss=3.75))
    assert found.pair and found.why == "a pair: they differ in the activation alone"
    assert [(one.key, one.a, one.b) for one in found.recipe] == [("model.activation.name", "gelu", "raf")]
    assert found.environment == () and found.data == ("c0ffee12", "c0ffee12")
    differences = {one.key: one.difference for one in found.results}
    assert differences["validation_loss"] == -0.25 and differences["steps"] == 0
    assert [one.key for one in found.validation] == [str(step) for step in range(20, 201, 20)]
    assert all(one.difference == pytest.approx(-0.25) for one in found.validation)


def test_a_default_that_an_older_record_lacks_is_no_difference(tmp_path: Path) -> None:
    older, newer = pretrain(tmp_path, "gelu"), pretrain(tmp_path, "raf")
    newer.info["recipe"] = read_recorded(newer.info["recipe"], "").model_dump(mode="json")
    assert newer.info["recipe"]["batch"].keys() > older.info["recipe"]["batch"].keys()
    assert [one.key for one in compare(older, newer).recipe] == ["model.activation.name"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"activation": "raf", "seed": 1}, "not a pair: other activations, but other seeds too"),
        ({"activation": "gelu", "seed": 1}, "not a pair: one activation, with other seeds"),
        ({"activation": "gelu", "name": "twin"}, "not a pair: one activation, trained twice"),
        ({"activation": "raf", "layers": 2}, "not a pair: they also differ in model.n_layers"),
        ({"activation": "raf", "recipe": {"optimizer": {"lr": 2e-3}}}, "not a pair: they also differ in optimizer.lr"),
    ],
)
def test_what_makes_no_pair_is_said(tmp_path: Path, other: dict[str, Any], why: str) -> None:
    found = compare(pretrain(tmp_path, "gelu"), pretrain(tmp_path, **other))
    assert (found.pair, found.why) == (False, why)


def test_runs_that_start_as_raft_released_them_are_no_pair_and_a_caveat_says_so(tmp_path: Path) -> None:
    runs = [pretrain(tmp_path, "gelu"), pretrain(tmp_path, "raf")]
    assert not any("RAFT's code released" in sentence for sentence in caveats(runs, "gelu"))
    for run in runs:
        run.info["recipe"]["model"]["ffn_in_std"] = "as_released"
    found = compare(*runs)
    assert not found.pair and "start at other sizes, as RAFT released them" in found.why
    assert any(sentence.startswith("bert-nano: the weights into the feed") for sentence in caveats(runs, "gelu"))


def test_machines_and_text_are_compared(tmp_path: Path) -> None:
    a, b = pretrain(tmp_path, "gelu"), pretrain(tmp_path, "raf")
    b.info["environment"]["libraries"]["torch"] = "2.13.0"
    b.info["hardware"]["precision"] = "bf16"
    b.info["data"]["hash"] = "0ther"
    found = compare(a, b)
    assert [(one.key, one.a, one.b) for one in found.environment] == [
        ("hardware.precision", "fp32", "bf16"),
        ("environment.libraries.torch", "2.12.0", "2.13.0"),
    ]
    assert found.why == "not a pair: they also differ in data, hardware.precision"


def test_an_unfinished_run_is_compared_by_its_validations(tmp_path: Path) -> None:
    found = compare(pretrain(tmp_path, "gelu", steps=200), pretrain(tmp_path, "raf", finished=False))
    assert found.pair and found.why.endswith("is not finished (interrupted)")
    assert found.results == () and len(found.validation) == 10


def test_fine_tuned_runs_are_compared_by_task_and_score(tmp_path: Path) -> None:
    a, b = (finetune(tmp_path, pretrain(tmp_path, name), score=s) for name, s in (("gelu", 0.5), ("raf", 0.75)))
    found = compare(a, b)
    assert found.pair
    assert {one.key: one.difference for one in found.results}["scores.validation.accuracy"] == 0.25
    other = compare(a, finetune(tmp_path, pretrain(tmp_path, "raf"), "cola"))
    assert not other.pair and "task" in other.why


def test_a_run_and_itself_is_refused(tmp_path: Path) -> None:
    run = pretrain(tmp_path, "gelu")
    with pytest.raises(BadInput, match="the same run twice"):
        compare(run, run)


def test_the_command_prints_tables_or_one_object(actbench: Command, tmp_path: Path) -> None:
    a, b = pretrain(tmp_path / "runs", "gelu", loss=4.0, steps=500), pretrain(tmp_path / "runs", "raf", loss=3.75)
    text = actbench("runs", "compare", a.id, b.id, check=0).stdout
    assert f"A  {a.id}\nB  {b.id}\n\nnot a pair: they also differ in budget.steps\nthe same data\n" in text
    assert "the same machine and software" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["budget.steps", "500", "200"] in rows and ["model.activation.name", "gelu", "raf"] in rows
    assert ["validation_loss", "4.0000", "3.7500", "−0.2500"] in rows
    facts = json.loads(actbench("runs", "compare", a.id, b.id, "--json", check=0).stdout)
    assert facts["data"] == {"a": "c0ffee12", "b": "c0ffee12", "same": True} and facts["pair"] is False
    assert {"key": "validation_loss", "a": 4.0, "b": 3.75, "difference": -0.25} in facts["results"]
    assert {"key": "budget.steps", "a": 500, "b": 200} in facts["recipe"]
