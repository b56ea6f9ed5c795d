"""What each mode of fine-tuning moves, beside other runs and under weight decay: that and nothing else, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_recipe
from model_sections import LENGTH, VOCABULARY, act, bert_section
from pydantic import ValidationError
from toy_finetuning import CLASSES, data, quiet

from actbench.analysis.cohorts import cohorts
from actbench.analysis.curves import curves_over_training
from actbench.cli.grid import read_grid
from actbench.config import FinetuneSettings, SquadSettings, load_recipe
from actbench.config.activation import ActivationOverride
from actbench.config.grid import FinetuneGrid, SquadGrid
from actbench.config.section import Section
from actbench.errors import BadInput
from actbench.nn.bert import Bert, BertClassifier, BertSpans
from actbench.nn.heads import Classifier, Spans
from actbench.report.figures import plot_over_training
from actbench.store import Run
from actbench.training import finetune as training
from actbench.training import plan, pretrain
from actbench.training.finetune_plan import FinetunePlan, _identity, plan_finetuning
from actbench.training.finetune_stack import Member
from actbench.training.hardware import Hardware
from actbench.training.tuning import tunable, tune

SETTINGS: dict[str, Any] = {
    "train_size": 20,
    "batch_size": 8,
    "epochs": 2,
    "lr": 2e-3,
    "weight_decay": 0.5,
    "precision": "fp32",
}
SEEDS = 3
MODES = ("full", "fixed-activation", "bitfit", "activation", "bitfit+activation", "head")


@pytest.fixture(scope="module")
def parents(tmp_path_factory: Any, corpus_file: Path) -> dict[str, Run]:
    """A tiny BERT with rational functions, in its pooler too, and one with GELU."""
    pooler = {"slot": "pooler", "name": "raf", "init": "tanh"}
    models: dict[str, dict[str, Any]] = {
        "raf": {"activation": {"name": "raf"}, "activation_overrides": [pooler]},
        "gelu": {"activation": {"name": "gelu"}},
    }
    made = {}
    for name, model in models.items():
        folder = tmp_path_factory.mktemp(name)
        recipe = load_recipe(write_recipe(folder, corpus_file, model=model, budget={"steps": 4}))
        made[name] = pretrain.pretrain(plan.plan(recipe, folder / "runs", quiet), resume=False, say=quiet)
    return made


def plans(parent: Run, folder: Path, tune: str = "full", grid: FinetuneGrid | None = None) -> list[FinetunePlan]:
    settings = FinetuneSettings(**SETTINGS, tune=tune)
    return plan_finetuning(parent, [data(CLASSES)], range(SEEDS), settings, folder, grid)


def values(member: Member) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in member.model.named_parameters()}


def trained(planned: list[FinetunePlan], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Run, Any, Any]]:
    """The runs, trained side by side, with their parameters by name before and after."""
    members: list[tuple[Member, dict[str, torch.Tensor]]] = []
    make = training._member

    def watched(*arguments: Any) -> Member:
        member = make(*arguments)
        members.append((member, values(member)))
        return member

    monkeypatch.setattr(training, "_member", watched)
    monkeypatch.setattr(training, "together", lambda plan: SEEDS)
    runs = list(training.finetune(planned, quiet))
    return [(run, before, values(member)) for run, (member, before) in zip(runs, members, strict=True)]


def moves(mode: str, name: str) -> bool:
    """Whether the mode moves the parameter, told by its name alone."""
    if name.startswith("classifier."):
        return True
    if name.startswith("encoder.head."):
        return False  # of masked tokens
    if ".activation." in name:
        return mode in ("full", "activation", "bitfit+activation")
    return mode in ("full", "fixed-activation") or (name.endswith(".bias") and mode in ("bitfit", "bitfit+activation"))


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_moves_what_it_names_and_nothing_else(
    parents: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    for run, before, after in trained(plans(parents["raf"], tmp_path, mode), monkeypatch):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        named = {name for name in before if moves(mode, name)}
        assert moved == named
        head = sum(value.numel() for name, value in before.items() if name.startswith("classifier."))
        total = sum(before[name].numel() for name in named)
        assert run.summary["trained_parameters"] == total
        assert run.summary["trained_parameters_without_head"] == total - head
        assert run.info["finetune"]["tune"] == mode


def test_random_biases_are_as_many_as_asked_for_and_the_seeds_own(
    parents: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for run, before, after in trained(plans(parents["raf"], tmp_path, "random-bias:25"), monkeypatch):
        inner = [name for name in before if name.startswith("encoder.")]
        places = {(name, int(i)) for name in inner for i in (before[name] != after[name]).flatten().nonzero()}
        assert len(places) == 25 and all(name.endswith(".bias") for name, _ in places)
        assert run.summary["trained_parameters_without_head"] == 25
        assert not torch.equal(before["classifier.dense.weight"], after["classifier.dense.weight"])
        drawn.append(places)
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


@pytest.mark.parametrize("mode", [*MODES, "random-bias:25"])
def test_a_task_that_reads_no_pooler_trains_nothing_of_it(mode: str) -> None:
    section = bert_section(activation=act("raf"), activation_overrides=(ActivationOverride(slot="pooler", name="raf"),))
    for pools in (False, True):
        encoder, head = Bert(section, VOCABULARY, LENGTH), Classifier(32, 2, 0.0) if pools else Spans(32)
        model = BertClassifier(encoder, head) if isinstance(head, Classifier) else BertSpans(encoder, head)
        trained = tune(model, mode, seed=0)
        learn = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert pools or not any("pooler" in name for name in learn)
        if mode != "random-bias:25":
            assert trained.total == sum(learn.values())
        assert trained.total - trained.without_head == sum(parameter.numel() for parameter in head.parameters())
        if mode == "bitfit+activation":
            assert trained.without_head == sum(tunable(section, pools=pools)[part] for part in ("bias", "activation"))


def test_the_default_mode_is_no_part_of_an_identity(parents: dict[str, Run]) -> None:
    settings = [FinetuneSettings(**SETTINGS), FinetuneSettings(**SETTINGS, tune="head")]
    said = [_identity(parents["raf"], data(CLASSES), one, 0)["settings"] for one in settings]
    assert "tune" not in said[0] and said[1]["tune"] == "head"


@pytest.mark.parametrize(("mode", "instead"), [("activation", "head"), ("bitfit+activation", "bitfit")])
def test_without_coefficients_their_modes_are_refused(
    parents: dict[str, Run], tmp_path: Path, mode: str, instead: str
) -> None:
    with pytest.raises(BadInput, match=rf"gelu has none \('{instead}' moves the same besides\)"):
        plans(parents["gelu"], tmp_path, mode)
    with pytest.raises(BadInput, match="'full' moves the same besides"):
        plans(parents["gelu"], tmp_path, "fixed-activation")


def test_coefficients_are_logged_after_every_epoch_the_poolers_too(
    parents: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, after = trained(plans(parents["raf"], tmp_path)[:1], monkeypatch)[0]
    rows = [row for row in run.metrics() if row["kind"] == "coefficients"]
    assert [row["step"] for row in rows] == [3, 6]
    best = rows[run.summary["best_epoch"] - 1]
    for slot, name in (("layers.0", "encoder.layers.0.feed_forward"), ("pooler", "encoder.pooler")):
        np.testing.assert_array_equal(best["values"][slot]["numerator"], after[f"{name}.activation.numerator"])
        assert all(row["gradients"][slot]["denominator"] is not None for row in rows)
    plot_over_training(run, tmp_path / "f.svg")
    drawn = (tmp_path / "f.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {word} -->" in drawn for word in ("Layer 1", "Layer 2", "Pooler", "pre-trained", "step 0"))


def test_coefficients_that_stay_are_not_logged(
    parents: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, *_ = trained(plans(parents["raf"], tmp_path, "bitfit")[:1], monkeypatch)[0]
    assert {row["kind"] for row in run.metrics()} == {"epoch"}
    with pytest.raises(BadInput, match="logged no coefficients \\(tune=bitfit leaves them as they were"):
        curves_over_training(run, 9)


def test_coefficients_that_are_no_numbers_end_the_run_and_no_other(
    parents: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Member._check

    def broken(member: Member, step: int, loss: float) -> None:
        if member.plan.seed == 1:
            with torch.no_grad():
                member._coefficients()[0].fill_(float("inf"))
        check(member, step, loss)

    monkeypatch.setattr(Member, "_check", broken)
    monkeypatch.setattr(training, "together", lambda plan: SEEDS)
    runs = list(training.finetune(plans(parents["raf"], tmp_path), quiet))
    assert [run.status for run in runs] == ["finished", "failed", "finished"]
    assert "coefficients are no longer finite" in runs[1].failure


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (["lr=1e-4,fast"], "--grid lr=1e-4,fast: lr.1: input should be a valid number, not 'fast'"),
        (["lr"], "--grid lr: expected key=value,value (as in --grid lr=5e-5,1e-4)"),
        (["lr="], "--grid lr=: lr: no values to try"),
        (["lr=1e-4", "lr=1e-3"], "--grid lr=1e-3: lr: given twice"),
        (["train_size=10,20"], "--grid train_size=10,20: train_size: unknown key"),
        (["docstride=64"], "did you mean 'doc_stride'?"),
    ],
)
def test_a_grid_that_means_nothing_is_told_as_it_was_typed(axes: list[str], expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_grid(axes, SquadGrid)
    assert expected in str(caught.value)


@pytest.mark.parametrize("mode", ["random-bias", "random-bias:", "random-bias:0", "random-bias:1.5", "random-bias:x"])
def test_random_biases_need_a_number(mode: str) -> None:
    with pytest.raises(ValidationError, match=r"does not say how many biases \(as in random-bias:117\)"):
        FinetuneSettings(tune=mode)


def numeric(section: type[Section]) -> set[str]:
    """The section's keys that hold a number."""
    kinds = {name: str(field.annotation) for name, field in section.model_fields.items()}
    return {name for name, kind in kinds.items() if "int" in kind or "float" in kind}


def test_every_number_but_the_size_of_the_training_set_can_be_an_axis() -> None:
    for settings, grid in ((FinetuneSettings, FinetuneGrid), (SquadSettings, SquadGrid)):
        assert set(grid.model_fields) == numeric(settings) - {"train_size"}


def test_how_coefficients_learn_makes_no_run_more_where_none_do(parents: dict[str, Run], tmp_path: Path) -> None:
    grid = FinetuneGrid(lr=(1e-4, 1e-3), activation_lr=(1e-4, 1e-3, 1e-2), activation_weight_decay=(0.0, 0.1))
    found = {
        (name, tune): len(plans(parents[name], tmp_path, tune, grid)) // SEEDS
        for name, tune in (("raf", "full"), ("raf", "bitfit"), ("gelu", "full"))
    }
    assert found == {("raf", "full"): 12, ("raf", "bitfit"): 2, ("gelu", "full"): 2}
    plain = {planned.folder for planned in plans(parents["gelu"], tmp_path)}
    grid = FinetuneGrid(lr=(SETTINGS["lr"],), activation_lr=(1e-4,), activation_weight_decay=(0.1,))
    assert plain == {planned.folder for planned in plans(parents["gelu"], tmp_path, grid=grid)}


def test_the_points_of_a_grid_train_side_by_side(
    parents: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    train = training._train

    def counted(members: list[Member], hardware: Hardware) -> None:
        sizes.append(len(members))
        train(members, hardware)

    monkeypatch.setattr(training, "_train", counted)
    grid = FinetuneGrid(lr=(1e-4, 5e-3), weight_decay=(0.0, 0.1))
    runs = list(training.finetune(plans(parents["gelu"], tmp_path, grid=grid)[::SEEDS], quiet))
    assert sizes == [4] and len({json.dumps(run.metrics()[0]) for run in runs}) == 4
    assert [(run.info["finetune"]["lr"], run.info["finetune"]["weight_decay"]) for run in runs] == [
        (1e-4, 0.0), (1e-4, 0.1), (5e-3, 0.0), (5e-3, 0.1),
    ]  # fmt: skip


def test_coefficients_decay_as_told_each_run_of_a_stack_its_own(parents: dict[str, Run], tmp_path: Path) -> None:
    grid = FinetuneGrid(activation_weight_decay=(0.0, 50.0))
    runs = list(training.finetune(plans(parents["raf"], tmp_path, "activation", grid)[::SEEDS], quiet))
    slots = [json.loads((run.folder / "activations.json").read_text())["slots"] for run in runs]
    kept, decayed = (np.square(one[0]["final"]["numerator"]).sum() for one in slots)
    assert decayed < 0.99 * kept
    labels = [variant.label for variant in cohorts(runs)[0].variants]
    assert [name.rpartition(", ")[2] for name in labels] == [f"activation_weight_decay={rate})" for rate in (0, 50)]
