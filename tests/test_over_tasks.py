"""Fine-tuning over several tasks: which runs are aggregated, against whom, and what the report makes of them."""

from __future__ import annotations

from pathlib import Path

import fake_runs
import numpy as np
import pytest

from actbench.analysis.comparisons import compare
from actbench.analysis.over_tasks import OverTasks, over_tasks
from actbench.analysis.task_numbers import task_number
from actbench.errors import BadInput
from actbench.report.figures import plot_profiles
from actbench.report.task_tables import tasks_table


class Study:
    """Pre-training runs by activation and seed, and fine-tunings that are added to them."""

    def __init__(self, root: Path):
        self.root, self.parents, self.runs = root, {}, []  # type: Path, dict[tuple[str, int], Run], list[Run]

    def tune(self, activation: str, seed: int, task: str, *scores: float) -> None:
        """A fine-tuning for each score, in percent."""
        key = activation, seed
        if key not in self.parents:
            self.parents[key] = fake_runs.pretrain(self.root, activation, seed)
        for place, score in enumerate(scores):
            self.runs.append(fake_runs.finetune(self.root, self.parents[key], task, place, score=score / 100))

    def aggregated(self, baseline: str = "gelu") -> dict[str, OverTasks]:
        return {one.label: one for one in over_tasks(compare(self.runs, baseline).finetuning)}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two seeds, two tasks: raf is 2 points better than gelu on each task at seed 0, and 4 at seed 1."""
    study = Study(tmp_path / "runs")
    for seed in (0, 1):
        for task, level in (("cola", 50.0), ("sst2", 80.0)):
            study.tune("gelu", seed, task, level + seed - 1, level + seed + 1)
            study.tune("raf", seed, task, level + seed + 2 + 2 * seed)
    return study


def test_finetunings_are_averaged_and_sides_share_seeds(study: Study) -> None:
    raf, gelu = study.aggregated()["raf"], study.aggregated()["gelu"]
    assert raf.tasks == ("cola", "sst2") and raf.seeds == (0, 1)
    assert gelu.gains is None and raf.gains is not None and np.allclose(raf.gains, [[2, 2], [4, 4]])
    assert (gelu.difference, gelu.improvement, gelu.mean_difference) == (None, None, None)
    assert raf.difference is not None and raf.improvement is not None and raf.mean_difference is not None
    assert raf.middle.value == pytest.approx((55 + 82) / 2)
    assert raf.difference.value == pytest.approx((55 + 82) / 2 - (51 + 80) / 2)
    assert raf.improvement.value == 1.0
    assert raf.mean_difference.mean == pytest.approx(3.0) and raf.mean_difference.n == 2
    assert len(raf.runs) == 4 and len(gelu.runs) == 8


def test_only_seeds_with_all_tasks_on_both_sides_count(study: Study) -> None:
    study.tune("raf", 2, "cola", 99.0)
    study.tune("raf", 3, "cola", 99.0)
    study.tune("raf", 3, "sst2", 99.0)
    assert study.aggregated()["raf"].seeds == (0, 1)
    assert study.aggregated("raf")["raf"].seeds == (0, 1, 3)


def test_a_variant_without_a_task_is_named_and_not_aggregated(study: Study) -> None:
    study.tune("silu", 0, "cola", 50.0)
    assert set(study.aggregated()) == {"gelu", "raf"}
    assert (
        "without a seed that was run on all tasks: bert-nano silu."
        in tasks_table(compare(study.runs, "gelu")).notes[-1]
    )


def test_one_task_is_nothing_to_aggregate(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.tune("gelu", 0, "cola", 50.0)
    assert study.aggregated() == {}


def test_a_baseline_without_a_task_compares_nothing(study: Study) -> None:
    study.tune("silu", 0, "cola", 50.0)
    assert study.aggregated("silu")["raf"].difference is None


def test_the_table_has_intervals_of_many_seeds_only(study: Study) -> None:
    table = tasks_table(compare(study.runs, "gelu"))
    cells = dict(zip((column.title for column in table.columns), table.rows[1].cells, strict=True))
    assert cells["IQM [95 %]"] == "68.50" and cells["P(better than gelu) [95 %]"] == "1.00"
    assert cells["Δ mean over tasks to gelu [95 %]"] == "+3.00 [−9.71, +15.71]"
    assert any("fewer than 6 seeds" in note for note in table.notes)
    for seed in range(2, 6):
        for activation in ("gelu", "raf"):
            for task, level in (("cola", 50.0), ("sst2", 80.0)):
                study.tune(activation, seed, task, level + np.sin(seed + len(activation)))
    row = tasks_table(compare(study.runs, "gelu")).rows[1].values
    low, high = row["interquartile_mean"]["interval_95"]
    assert low < row["interquartile_mean"]["value"] < high and row["pretraining_seeds"] == list(range(6))


def test_profiles_are_drawn_with_a_band_where_seeds_allow(tmp_path: Path, study: Study) -> None:
    def drawn() -> str:
        plot_profiles(list(study.aggregated().values()), "gelu", tmp_path / "p.svg")
        return (tmp_path / "p.svg").read_text(encoding="utf-8")

    few = drawn()
    assert "<!-- raf -->" in few and "<!-- gelu -->" in few and "FillBetween" not in few
    for seed in range(2, 6):
        for place, activation in enumerate(("gelu", "raf")):
            for task in ("cola", "sst2"):
                study.tune(activation, seed, task, 60.0 + place * seed)
    many = drawn()
    assert many.count('id="FillBetween') == 1 and many == drawn()


def test_profiles_need_a_baseline_and_a_format(tmp_path: Path, study: Study) -> None:
    with pytest.raises(BadInput, match="did you mean 'png'"):
        plot_profiles([study.aggregated()["raf"]], "gelu", tmp_path / "p.pmg")
    with pytest.raises(BadInput, match="no variants to draw profiles of beside gelu"):
        plot_profiles([study.aggregated()["gelu"]], "gelu", tmp_path / "p.png")


def test_a_zero_shot_task_counts_with_its_headline_score() -> None:
    summary = {"scores": {"acc": 0.25, "acc_norm": 0.5}, "headline": {"metric": "acc_norm", "value": 0.5}}
    assert task_number(summary) == 0.5
