"""Settings of fine-tuning are chosen on the selection set, whatever the test scores; reports say among how many."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_runs
import pytest
from studies import carry_out, planned

from actbench.analysis.cohorts import Variant, cohorts
from actbench.analysis.comparisons import compare
from actbench.analysis.grids import choose
from actbench.errors import BadInput
from actbench.report.caveats import caveats
from actbench.report.grid_table import grid_table
from actbench.report.provenance import runs_table
from actbench.report.tables import finetuning_table
from actbench.store import Run, list_runs
from actbench.study import speed
from actbench.study.estimate import estimate
from actbench.training.peak import Peak

AXES = ("lr", "activation_lr")


class Grid:
    """Fine-tunings of made-up pre-trained models, on one task."""

    def __init__(self, root: Path):
        self.root = root
        self.runs: list[Run] = []

    def tune(
        self,
        activation: str,
        selection: float | None,
        score: float,
        *,
        seed: int = 0,
        finetune_seed: int = 0,
        **settings: Any,
    ) -> Run:
        parent = fake_runs.pretrain(self.root, activation, seed)
        made = fake_runs.finetune(
            self.root, parent, finetune_seed=finetune_seed, score=score, selection=selection, settings=settings
        )
        self.runs.append(made)
        return made

    def variants(self, *axes: str) -> dict[str, Variant]:
        return {variant.label: variant for cohort in cohorts(self.runs, axes or AXES) for variant in cohort.variants}


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return Grid(tmp_path / "runs")


def test_test_scores_have_no_say(grid: Grid) -> None:
    """The point that is best on the test set is second on the selection set."""
    best = grid.tune("raf", 0.80, 0.70, lr=1e-4)
    grid.tune("raf", 0.79, 0.95, lr=5e-5)
    grid.tune("raf", 0.60, 0.90, lr=1e-3)
    variant = grid.variants()["raf"]
    assert list(variant.runs.values()) == [best]
    (comparison,) = compare(grid.runs, "raf", AXES).finetuning
    assert comparison.value.mean == pytest.approx(70)
    for run in grid.runs:  # other test scores: the same choice
        assert run.manifest is not None
        run.manifest["summary"]["headline"]["value"] = 0.1 if run == best else 0.99
    assert list(grid.variants()["raf"].runs.values()) == [best]


def test_the_mean_over_seeds_decides_and_each_pre_trained_model_has_a_choice_of_its_own(grid: Grid) -> None:
    for seed, better in ((0, 1e-4), (1, 1e-3)):
        for lr in (1e-4, 1e-3):
            for finetune_seed, luck in ((0, 0.2), (1, -0.1)):
                selection = 0.5 + (0.01 if lr == better else -luck / 10) + luck
                grid.tune("raf", selection, 0.5, seed=seed, finetune_seed=finetune_seed, lr=lr)
    variant = grid.variants()["raf"]
    assert {seed: choice.chosen.values["lr"] for seed, choice in variant.choices.items()} == {0: 1e-4, 1: 1e-3}
    assert {key: run.info["finetune"]["lr"] for key, run in variant.runs.items()} == {
        (0, 0): 1e-4, (0, 1): 1e-4, (1, 0): 1e-3, (1, 1): 1e-3,
    }  # fmt: skip


def test_a_point_with_fewer_seeds_is_not_chosen_and_of_equal_ones_the_smaller_is(grid: Grid) -> None:
    grid.tune("raf", 0.9, 0.5, lr=1e-2)  # its other seed failed
    for lr in (1e-3, 1e-4):
        for seed in (0, 1):
            grid.tune("raf", 0.7, 0.5, finetune_seed=seed, lr=lr)
    choice = choose(grid.runs, ["lr"])
    assert (choice.chosen.values, choice.points) == ({"lr": 1e-4}, 3)
    assert len(choice.left) == 3


def test_points_of_other_seeds_are_not_set_beside_one_another(grid: Grid) -> None:
    for seeds, lr, selection in (((2, 3), 1e-4, 0.9), ((0, 1), 1e-3, 0.5), ((0, 1), 1e-2, 0.6)):
        for seed in seeds:
            grid.tune("raf", selection, 0.5, finetune_seed=seed, lr=lr)
    choice = choose(grid.runs, ["lr"])
    assert choice.chosen.values == {"lr": 1e-2}, "the best of those with the lowest seeds"


def test_nothing_is_chosen_on_the_set_that_is_reported_on(grid: Grid) -> None:
    for lr, score in ((1e-4, 0.7), (1e-3, 0.9)):
        tuned = grid.tune("raf", score, score, lr=lr, protocol="official")
        grid.runs.append(fake_runs.transfer(grid.root, tuned, score))
    of_rates = [[run.id for run in v.runs.values()] for cohort in cohorts(grid.runs, AXES) for v in cohort.variants]
    assert sorted(of_rates) == sorted([run.id] for run in grid.runs)


def test_of_transfers_those_of_the_chosen_point_count(grid: Grid) -> None:
    for activation, better in (("gelu", 1e-4), ("raf", 1e-3)):
        for lr in (1e-3, 1e-4):
            tuned = grid.tune(activation, 0.8 if lr == better else 0.6, 0.5, lr=lr)
            grid.runs.append(fake_runs.transfer(grid.root, tuned, 0.7 if lr == better else 0.9))
    (gelu, raf) = compare(grid.runs, "gelu", AXES).transfer
    assert [c.variant.first.info["finetune"]["lr"] for c in (gelu, raf)] == [1e-4, 1e-3]
    assert [c.value.mean for c in (gelu, raf)] == pytest.approx([70, 70])
    assert not gelu.variant.repeats and not raf.variant.repeats
    alone = cohorts([run for run in grid.runs if run.kind == "evaluate"], AXES)
    assert [cohort.name for cohort in alone] == ["bert-nano (lr 0.0001)", "bert-nano (lr 0.001)"]
    assert all(len(variant.runs) == 1 and not variant.repeats for one in alone for variant in one.variants)


def test_modes_and_tasks_are_chosen_for_apart(grid: Grid) -> None:
    full = grid.tune("raf", 0.6, 0.5, lr=1e-4)
    grid.tune("raf", 0.5, 0.5, lr=1e-3)
    bitfit = grid.tune("raf", 0.9, 0.5, lr=1e-3, tune="bitfit")
    found = grid.variants()
    assert {label: list(variant.runs.values()) for label, variant in found.items()} == {
        "raf": [full],
        "raf (tune=bitfit)": [bitfit],
    }


def test_a_mode_is_the_baseline_where_there_are_modes_and_else_its_activation_is(grid: Grid) -> None:
    bitfit = grid.tune("gelu", 0.9, 0.5, tune="bitfit")
    full = grid.tune("gelu", 0.6, 0.5)
    pretrained = [fake_runs.pretrain(grid.root, name) for name in ("gelu", "raf")]
    on_text, on_task = cohorts([*pretrained, full, bitfit])
    found = on_task.called("gelu (tune=bitfit)"), on_text.called("gelu (tune=bitfit)")
    assert [one.label for one in found if one] == ["gelu (tune=bitfit)", "gelu"]
    assert cohorts([full])[0].called("gelu (tune=bitfit)") is None, "another mode is no stand-in"
    assert on_text.called("gelu (approximate=none)") is None


def test_without_a_grid_runs_that_differ_in_a_rate_stand_side_by_side(grid: Grid) -> None:
    for activation_lr in (1e-3, 1e-2):
        grid.tune("raf", 0.5, 0.5, activation_lr=activation_lr)
    (cohort,) = cohorts(grid.runs)
    labels = [variant.label for variant in cohort.variants]
    assert labels == ["raf (activation_lr=0.001)", "raf (activation_lr=0.01)"]
    assert [variant.label for variant in cohorts(grid.runs, AXES)[0].variants] == ["raf"]
    grid.tune("raf", 0.5, 0.5, lr=1e-3)
    assert len(cohorts(grid.runs)) == 2


def test_runs_of_a_version_before_the_modes_are_of_the_same_cohort(grid: Grid) -> None:
    before, now = grid.tune("gelu", 0.5, 0.5), grid.tune("raf", 0.5, 0.5, tune="full")
    assert "tune" not in before.info["finetune"] and "tune" in now.info["finetune"]
    (cohort,) = cohorts(grid.runs)
    assert [variant.label for variant in cohort.variants] == ["gelu", "raf"]


@pytest.fixture
def uneven(grid: Grid) -> Grid:
    """GELU with two points and RAF with four, each in two pre-trained models."""
    for seed in (0, 1):
        for number, lr in enumerate((1e-4, 1e-3)):
            grid.tune("gelu", 0.5 + number / 10, 0.6, seed=seed, lr=lr)
            for activation_lr in (1e-3, 1e-2):
                selection = 0.7 - (activation_lr - 1e-3) - number / 10
                grid.tune("raf", selection, 0.8, seed=seed, lr=lr, activation_lr=activation_lr)
    return grid


def test_the_report_tells_what_was_tried_and_what_won(uneven: Grid) -> None:
    family = compare(uneven.runs, "gelu", AXES)
    gelu, raf = grid_table(family).rows
    assert gelu.cells[2:] == ("gelu", "2", "lr=0.001 (2)", "60.00")
    assert raf.cells[2:] == ("raf", "4", "lr=0.0001 activation_lr=0.001 (2)", "70.00")
    assert [point["lr"] for point in gelu.values["by_pretraining_seed"]["0"]] == [1e-3, 1e-4]
    scores = finetuning_table(family)
    assert [row.values["score_percent"]["mean"] for row in scores.rows] == pytest.approx([60, 80])
    assert (
        "lr and activation_lr: chosen on the selection set where several were tried, see the table of settings."
        in scores.notes
    )
    assert grid_table(compare(uneven.runs, "gelu")).rows == ()


def test_a_single_point_is_told_and_not_called_chosen(grid: Grid) -> None:
    """As where biases alone learn at a rate of their own."""
    grid.tune("gelu", 0.5, 0.6, lr=5e-4)
    grid.tune("raf", 0.5, 0.7, lr=5e-3)
    family = compare(grid.runs, "gelu", ("lr",))
    assert [row.cells[3:5] for row in grid_table(family).rows] == [("1", "lr=0.0005 (1)"), ("1", "lr=0.005 (1)")]
    notes = " ".join(finetuning_table(family).notes)
    assert "lr: as given for each activation and mode" in notes and "chosen" not in notes
    assert "chosen" not in grid_table(family).to_markdown().replace("Nothing was chosen among them.", "")
    assert grid_table(compare(grid.runs, "gelu", ("activation_lr",))).rows[0].cells[4] == "\N{EN DASH}", "it has none"


def test_a_baseline_that_was_given_fewer_points_is_named(uneven: Grid) -> None:
    (sentence,) = [one for one in caveats(uneven.runs, "gelu", AXES) if "selection set" in one]
    assert "gelu among 2 points of a grid, and those of raf among 4, on sst2 of bert-nano" in sentence
    assert not [one for one in caveats(uneven.runs, "raf", AXES) if "selection set" in one]
    assert not [one for one in caveats(uneven.runs, "gelu", ("lr",)) if "selection set" in one]


def test_every_run_of_a_grid_is_listed_beside_the_baselines_chosen_one(uneven: Grid) -> None:
    rows = runs_table(uneven.runs, "gelu", AXES).rows
    assert len(rows) == len(uneven.runs)
    gelu = cohorts(uneven.runs, AXES)[0].variants[0]
    partners = {row.values["baseline_run"] for row in rows}
    assert partners == set(gelu.ids)


def test_the_command_chooses_where_it_is_told_to(actbench: Callable[..., Any], uneven: Grid) -> None:
    words = ("runs", "test", "--json")
    tables = json.loads(actbench(*words, "--grid", "lr,activation_lr", check=0).stdout)["tables"]
    (chosen,) = (table for table in tables if "chosen on the selection set" in table["title"])
    assert [(row["activation"], row["points"]) for row in chosen["rows"]] == [("gelu", 2), ("raf", 4)]
    done = actbench(*words, "--grid", "rate", check=2)
    assert "--grid: 'rate' cannot be chosen" in done.stderr


# In a study.


@pytest.fixture
def study(study_file: Any, tiny_recipe: Any) -> Callable[..., Path]:
    """Writes a study of GELU and RAF that fine-tunes each in several modes."""
    tiny_recipe("bert")

    def write(*follow_ups: dict[str, Any]) -> Path:
        axes = {"model.activation.name": ["gelu", "raf"]}
        path: Path = study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": list(follow_ups)}])
        return path

    return write


def probes(tune: str = "full", epochs: int = 1, **more: Any) -> dict[str, Any]:
    settings = {"train_size": 20, "epochs": epochs, "tune": tune}
    return {"finetune": "probes", "tasks": ["probe_swap"], "seeds": [0], "settings": settings, **more}


def test_a_study_tunes_in_several_modes_chooses_and_repeats_nothing(study: Callable[..., Path], tmp_path: Path) -> None:
    grid = {"lr": [1e-3, 5e-3], "activation_lr": [1e-3, 1e-2]}
    path = study(probes(grid=grid), probes("bitfit+activation"))
    assert estimate(planned(path)).runs == 2 + 2 + 4 + 1  # bitfit+activation has nothing to do in a GELU
    outcome = carry_out(path)
    assert not outcome.failed and outcome.finished == 2 + 7 == len(list_runs(tmp_path / "runs"))
    tables = {
        table["title"].partition(":")[2].strip(): table["rows"]
        for table in json.loads((tmp_path / "runs/small/tables.json").read_text())["tables"]
    }
    chosen = {row["activation"]: row["points"] for row in tables["settings chosen on the selection set"]}
    assert chosen == {"gelu": 2, "raf": 4, "raf (tune=bitfit+activation)": 1}
    assert "Numbers trained besides the head: raf (tune=bitfit+activation) 660." in (
        tmp_path / "runs/small/report.md"
    ).read_text().replace("\\", "")
    (differences,) = (rows for title, rows in tables.items() if title.startswith("paired difference of score"))
    assert [row["activation"] for row in differences] == ["raf", "raf (tune=bitfit+activation)"]
    assert all(row["difference"]["pairs"] == 1 for row in differences)
    graph = planned(path)
    assert [graph.next_tasks(node, retry=True) for node in graph.nodes] == [[], []]


def test_a_plan_counts_the_epochs_of_all_points(study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "measured_peak", lambda precision, device: Peak(1e9, 512))

    def seconds(**follow_up: Any) -> float:
        return estimate(planned(study(probes(**follow_up)))).parts[1].seconds

    short = seconds()  # one epoch
    middle = seconds(epochs=5)
    assert middle > 1.2 * short
    assert seconds(grid={"epochs": [1, 5]}) == pytest.approx(short + middle)


@pytest.mark.parametrize(
    ("follow_up", "expected"),
    [
        (probes(grid={"lrr": [1e-3]}), "grid.lrr: unknown key (did you mean 'experiments.0.follow_ups.0.grid.lr'?)"),
        (probes(grid={"lr": []}), "grid.lr: no values to try"),
        (probes(grid={"lr": [-1.0]}), "grid.lr.0"),
        (probes("fixed"), "no mode 'fixed'"),
        (
            {**probes(grid={"lr": [1e-4]}), "settings": {"protocol": "official"}},
            "a grid would be chosen on the set that is reported on",
        ),
    ],
)
def test_a_grid_or_mode_that_means_nothing(study: Callable[..., Path], follow_up: Any, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        planned(study(follow_up))
    assert expected in str(caught.value) and "study.yaml:" in str(caught.value)


def test_a_mode_that_suits_no_model_is_named(study_file: Any, tiny_recipe: Any) -> None:
    tiny_recipe("bert")
    axes = {"model.activation.name": ["gelu"]}
    experiment = {"recipe": "bert.yaml", "axes": axes, "follow_ups": [probes("activation")]}
    with pytest.raises(BadInput, match=r"'activation': no run has an activation with coefficients \('head'"):
        planned(study_file(experiments=[experiment]))
