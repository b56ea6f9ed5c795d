"""Runs that are fine-tuned side by side: each is what it would be alone, and none's end is another's."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from toy_finetuning import SCORES, close, plans, pretrained, quiet

from actbench.activations.rational import RAF
from actbench.errors import Interrupted
from actbench.store import Run, claim
from actbench.training import finetune as training
from actbench.training import finetune_stack
from actbench.training.finetune_plan import FinetunePlan


@pytest.fixture
def parent(tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return pretrained(tiny_recipe, tmp_path)


def run(planned: list[FinetunePlan], at_once: int, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    monkeypatch.setattr(training, "together", lambda plan: at_once)
    return list(training.finetune(planned, quiet))


def assert_alike(ours: Run, alone: Run) -> None:
    assert ours.id == alone.id and ours.damaged_files() == []
    for row, expected in zip(ours.metrics(), alone.metrics(), strict=True):
        assert (row["step"], row["kind"]) == (expected["step"], expected["kind"])
        if row["kind"] == "epoch":
            assert row["epoch"] == expected["epoch"]
            assert row["loss"] == close(expected["loss"]) and row["selection"] == close(expected["selection"])
        else:
            for slot, own in expected["values"].items():
                assert row["values"][slot] == {name: close(numbers) for name, numbers in own.items()}
    for key in ("epochs", "best_epoch", "train_examples", "task"):
        assert ours.summary[key] == alone.summary[key]
    assert ours.summary["scores"]["dev"] == close(alone.summary["scores"]["dev"])
    assert ours.manifest is not None and alone.manifest is not None
    assert ours.manifest["files"].keys() == alone.manifest["files"].keys()


@pytest.mark.parametrize("changes", [{}, {"task": SCORES, "patience": 1, "epochs": 8}], ids=["to the end", "not all"])
def test_side_by_side_each_run_is_what_it_is_alone(
    parent: Run, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    stacked = run(plans(parent, "stacked", **changes), 3, monkeypatch)
    alone = run(plans(parent, "alone", **changes), 1, monkeypatch)
    for ours, expected in zip(stacked, alone, strict=True):
        assert_alike(ours, expected)
    if changes:
        assert len({run.summary["epochs"] for run in alone}) > 1, "they stop at different times"


def test_a_run_that_fails_touches_no_other(parent: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = plans(parent, "stacked"), plans(parent, "stacked", lr=1e38)
    stacked = run([good[0], bad[1], good[2]], 3, monkeypatch)
    alone = run(plans(parent, "alone"), 1, monkeypatch)
    assert [each.status for each in stacked] == ["finished", "failed", "finished"]
    assert "finite" in stacked[1].failure and stacked[1].info["finetune"]["lr"] == 1e38
    for number in (0, 2):
        assert_alike(stacked[number], alone[number])


def test_a_run_that_another_process_trains_is_left_to_it(parent: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plans(parent, "runs")
    said: list[str] = []
    monkeypatch.setattr(training, "together", lambda plan: 3)
    with claim(planned[1].folder):
        found = list(training.finetune(planned, said.append))
    assert [each.status for each in found] == ["finished", "interrupted", "finished"]
    assert "another process is training" in said[1] and not found[1].failure


def test_a_model_that_breaks_in_its_last_step_has_failed(parent: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of that step was still a number, and the largest of no numbers would be the first class."""
    last = {"lr": 1e38, "epochs": 1, "tune": "head", "batch_size": 64, "patience": None}
    (found,) = run(plans(parent, "runs", **last)[:1], 1, monkeypatch)
    assert found.status == "failed" and "an output is not a number" in str(found.failure)


def test_stopped_together_they_start_over_and_finish_as_if_nothing_had_been(
    parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run(plans(parent, "undisturbed"), 3, monkeypatch)
    goes_on = finetune_stack.Member.goes_on

    def stopped(member: Any, *arguments: Any) -> bool:
        if member.epochs == 1 and member.plan.seed == 2:
            signal.raise_signal(signal.SIGTERM)
        return goes_on(member, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(finetune_stack.Member, "goes_on", stopped)
        with pytest.raises(Interrupted):
            run(plans(parent, "stopped"), 3, monkeypatch)
    assert {each.run.status for each in plans(parent, "stopped")} == {"interrupted"}
    for ours, expected in zip(run(plans(parent, "stopped"), 3, monkeypatch), undisturbed, strict=True):
        assert ours.metrics() == expected.metrics() and ours.summary["scores"] == expected.summary["scores"]


def test_small_runs_train_side_by_side_where_memory_allows_and_nothing_draws(
    parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plans(parent, "runs")[0]
    assert training.together(planned) == training.MOST
    for owner, name, value in ((training, "SMALL", 8 * 2 * 32), (training, "MEMORY", 10**6), (RAF, "draws", True)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, value)
            expected = 10**6 // (20 * 23340) if name == "MEMORY" else 1
            assert training.together(planned) == expected, name


def test_only_runs_of_one_shape_train_side_by_side(parent: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    train = training._train
    monkeypatch.setattr(
        training, "_train", lambda members, *others: sizes.append(len(members)) or train(members, *others)
    )
    run([*plans(parent, "runs", epochs=1), *plans(parent, "runs", 2, epochs=2)], 2, monkeypatch)
    assert sizes == [2, 1, 2]
