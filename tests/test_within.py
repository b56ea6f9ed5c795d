"""One pre-training each: scores over fine-tuning seeds, paired by these, and where the report has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_runs
import pytest
from scipy import stats

from actbench.analysis.comparisons import compare
from actbench.report.results import result_tables
from actbench.report.table import Table
from actbench.report.within_table import within_table
from actbench.store import Run

GELU = {"cola": (50.0, 51.0, 53.0), "sst2": (80.0, 82.0, 81.0)}
RAF = {"cola": (52.0, 54.0, 53.5), "sst2": (79.0, 84.0, 82.0)}


def tuned(root: Path, activation: str, scores: dict[str, tuple[float, ...]], seed: int = 0) -> list[Run]:
    parent = fake_runs.pretrain(root, activation, seed)
    return [
        fake_runs.finetune(root, parent, task, number, score=score / 100)
        for task, values in scores.items()
        for number, score in enumerate(values)
    ]


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return tuned(tmp_path, "gelu", GELU) + tuned(tmp_path, "raf", RAF)


def table(runs: list[Run], baseline: str = "gelu") -> Table:
    return within_table(compare(runs, baseline))


def values_of(found: Table, activation: str, *tasks: str) -> dict[str, Any]:
    (values,) = (r.values for r in found.rows if (r.values["activation"], r.values["tasks"]) == (activation, [*tasks]))
    return values


def test_fine_tunings_of_one_model_are_paired_by_their_seeds(runs: list[Run]) -> None:
    raf, gelu = values_of(table(runs), "raf", "cola"), values_of(table(runs), "gelu", "cola")
    expected = stats.ttest_rel(RAF["cola"], GELU["cola"])
    interval = expected.confidence_interval(0.95)
    assert raf["difference"]["mean"] == pytest.approx(5.5 / 3)
    assert raf["difference"]["interval_95"] == pytest.approx([interval.low, interval.high])
    assert (raf["difference"]["pairs"], raf["score_percent"]["seeds"]) == (3, 3)
    assert raf["score_percent"]["sd"] == pytest.approx(stats.tstd(RAF["cola"]))
    assert gelu["difference"] is None and gelu["score_percent"]["mean"] == pytest.approx(154 / 3)


def test_the_mean_over_tasks_is_paired_by_the_same_seeds(runs: list[Run]) -> None:
    found = table(runs)
    raf = values_of(found, "raf", "cola", "sst2")
    means = [[(a + b) / 2 for a, b in zip(one["cola"], one["sst2"], strict=True)] for one in (RAF, GELU)]
    interval = stats.ttest_rel(*means).confidence_interval(0.95)
    assert raf["difference"]["interval_95"] == pytest.approx([interval.low, interval.high])
    assert [row.cells[1] for row in found.rows][-2:] == ["mean of 2 tasks"] * 2
    assert len(found.rows[-1].runs) == 6


def test_a_run_without_a_partner_is_in_the_score_and_in_no_difference(tmp_path: Path) -> None:
    runs = tuned(tmp_path, "gelu", {"cola": GELU["cola"][:2]}) + tuned(tmp_path, "raf", RAF)
    raf = values_of(table(runs), "raf", "cola")
    assert (raf["score_percent"]["seeds"], raf["difference"]["pairs"], raf["difference"]["dropped"]) == (3, 2, 1)
    over = values_of(table(runs), "raf", "cola", "sst2")
    assert over["difference"] is None, "gelu has no sst2"
    assert not [row for row in table(runs).rows if row.values["activation"] == "gelu" and len(row.values["tasks"]) > 1]


def test_a_second_pretraining_is_asked_instead(tmp_path: Path, runs: list[Run]) -> None:
    assert "within-one-pretraining" in [one.name for one in result_tables(compare(runs, "gelu"))]
    more = tuned(tmp_path, "gelu", {"cola": (50.0,)}, seed=1)
    assert "within-one-pretraining" not in [one.name for one in result_tables(compare([*runs, *more], "gelu"))]


def test_one_run_each_has_nothing_to_vary(tmp_path: Path) -> None:
    runs = tuned(tmp_path, "gelu", {"cola": (50.0,)}) + tuned(tmp_path, "raf", {"cola": (51.0,)})
    assert table(runs).rows == ()


def test_it_is_no_test_of_the_page(runs: list[Run]) -> None:
    family = compare(runs, "gelu")
    assert within_table(family).rows and family.tested == 0
