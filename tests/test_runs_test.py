"""`actbench runs test`, through the installed command: what it prints, and what it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import fake_runs
import pytest
from scipy import stats
from test_docs import commands

from actbench.store import Run

Command = Callable[..., subprocess.CompletedProcess[str]]
GELU, RAF = (5.00, 5.02, 4.98, 5.01), (4.94, 4.97, 4.93, 4.94)


@pytest.fixture
def trained(tmp_path: Path) -> list[Run]:
    """Four seeds of GELU and RAF each."""
    root = tmp_path / "runs"
    runs = [fake_runs.pretrain(root, "gelu", seed, name="gpt-nano", loss=loss) for seed, loss in enumerate(GELU)]
    return runs + [fake_runs.pretrain(root, "raf", seed, name="gpt-nano", loss=loss) for seed, loss in enumerate(RAF)]


def test_the_named_runs_are_compared(actbench: Command, trained: list[Run]) -> None:
    """Three seeds of each, by folder and by name, one of them twice."""
    named = [f"runs/{run.id}" for run in trained[:3]] + [run.id for run in trained[4:7]] + [trained[0].id]
    done = actbench("runs", "test", *named, "--difference", "0.02", "--power", "0.9", "--json", check=0)
    facts = json.loads(done.stdout)
    results, differences, seeds = facts["tables"]
    assert results["notes"] == []  # a run that is named twice counts once
    (row,) = differences["rows"]
    assert row["difference"]["p_value"] == pytest.approx(stats.ttest_rel(RAF[:3], GELU[:3]).pvalue)
    assert row["difference"]["least_permutation_p"] == 0.25
    assert sorted(row["runs"]) == sorted(run.id for run in trained[4:7])
    (needed,) = seeds["rows"]
    assert (needed["power"], needed["seeds_needed"]["difference"]) == (0.9, 0.02)
    assert needed["visible"] is None  # three seeds show nothing
    assert needed["seeds_needed"]["low"] <= needed["seeds_needed"]["seeds"] <= needed["seeds_needed"]["high"]
    assert "too few seeds to conclude" in facts["verdicts"]["gpt-nano"][0]


def test_the_commands_of_the_page_work(actbench: Command, trained: list[Run]) -> None:
    found = [command for command in commands("docs/statistics.md") if command.startswith("actbench")]
    assert len(found) >= 2
    for command in found:
        words = shlex.split(command)
        globbed = [str(path) for word in words[1:] for path in _expanded(word, trained[0].folder.parents[1])]
        done = actbench(*globbed, check=0)
        assert "−0.0575 [−0.0727, −0.0423]" in done.stdout and "0.125 (0.125)" in done.stdout
        assert "How many seeds it takes" in done.stdout


def _expanded(word: str, folder: Path) -> list[str]:
    """What a shell makes of a word with a star."""
    return [str(path.relative_to(folder)) for path in sorted(folder.glob(word))] if "*" in word else [word]


def test_bad_input_is_said(actbench: Command, tmp_path: Path, trained: list[Run]) -> None:
    done = actbench("runs", "test", "--difference", "-1", "--power", "1.5", check=2)
    assert "--difference: -1 is not a difference to see" in done.stderr and "--power: 1.5" in done.stderr
    fake_runs.finetune(tmp_path / "runs", trained[0])
    done = actbench("runs", "test", "--difference", "0.1", check=2)
    assert "runs of both kinds are given (--where kind=pretrain" in done.stderr
    done = actbench("runs", "test", "--runs", "nowhere", check=2)
    assert "there are no runs in nowhere/" in done.stderr
    done = actbench("runs", "test", "--baseline", "gleu", check=2)
    assert "--baseline: " in done.stderr and "did you mean 'gelu'?" in done.stderr
    done = actbench("runs", "test", "--where", "kind=finetun", check=2)
    assert "no run in runs/ matches 'kind=finetun'" in done.stderr


def test_an_expression_names_runs_of_one_kind(actbench: Command, tmp_path: Path, trained: list[Run]) -> None:
    for run in trained:
        fake_runs.transfer(tmp_path / "runs", fake_runs.finetune(tmp_path / "runs", run, "mnli"), 0.5)
        fake_runs.perplexity(tmp_path / "runs", run)
    asked = ["runs", "test", "--difference", "0.02", "--json"]
    assert "--where kind=pretrain" in actbench(*asked, check=2).stderr
    tables = json.loads(actbench(*asked, "--where", "kind=pretrain", check=0).stdout)["tables"]
    assert [len(table["rows"]) for table in tables if "How many seeds" in table["title"]] == [1]
    done = actbench(*asked, "--where", "kind=evaluate and metric!=accuracy", check=0)
    (seeds,) = (table for table in json.loads(done.stdout)["tables"] if "How many seeds" in table["title"])
    assert "in nats" in seeds["title"] and [row["text"] for row in seeds["rows"]] == ["some text"]
    (trained[0].folder / "run.json").write_text("{")
    assert f"left out: {trained[0].id}" in actbench(*asked, "--where", "kind=pretrain", check=0).stderr
    assert "not both" in actbench(*asked, trained[1].id, "--where", "kind=pretrain", check=2).stderr
