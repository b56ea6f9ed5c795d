"""One pre-training each: scores over fine-tuning seeds, paired by these, and where the report has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_runs
import pytest
from scipy import stats

from actbench.analysis.comparisons import Stated, compare
from actbench.report.one_pretraining_table import one_pretraining_table
from actbench.report.results import result_tables
from actbench.report.table import Table
from actbench.store import Run

GELU = {"cola": (50.0, 51.0, 53.0), "sst2": (80.0, 82.0, 81.0)}
RAF = {"cola": (52.0, 54.0, 53.5), "sst2": (79.0, 84.0, 82.0)}
FIXED = {"tune": "fixed-activation"}


def tuned(
    root: Path,
    activation: str,
    scores: dict[str, tuple[float, ...]],
    seed: int = 0,
    settings: dict[str, Any] | None = None,
) -> list[Run]:
    parent = fake_runs.pretrain(root, activation, seed)
    return [
        fake_runs.finetune(root, parent, task, number, score=score / 100, settings=settings)
        for task, values in scores.items()
        for number, score in enumerate(values)
    ]


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return tuned(tmp_path, "gelu", GELU) + tuned(tmp_path, "raf", RAF)


def table(runs: list[Run], baseline: str = "gelu", *stated: Stated) -> Table:
    return one_pretraining_table(compare(runs, baseline, (), stated))


def cells_of(found: Table, task: str, activation: str, against: str = "gelu") -> dict[str, str]:
    heads = [column.title for column in found.columns]
    rows = [dict(zip(heads, row.cells, strict=True)) for row in found.rows]
    wanted = {"task": task, "activation": activation, "against": against}
    (cells,) = (row for row in rows if wanted.items() <= row.items())
    return cells


def values_of(found: Table, activation: str, **place: Any) -> dict[str, Any]:
    wanted = {"activation": activation, **place}
    (values,) = (row.values for row in found.rows if wanted.items() <= row.values.items())
    return values


def test_fine_tunings_of_one_model_are_paired_by_their_seeds(runs: list[Run]) -> None:
    raf, gelu = (values_of(table(runs), name, task="cola") for name in ("raf", "gelu"))
    interval = stats.ttest_rel(RAF["cola"], GELU["cola"]).confidence_interval(0.95)
    assert raf["difference"]["mean"] == pytest.approx(5.5 / 3)
    assert raf["difference"]["interval_95"] == pytest.approx([interval.low, interval.high])
    assert (raf["difference"]["pairs"], raf["score_percent"]["finetuning_seeds"]) == (3, 3)
    assert raf["score_percent"]["sd"] == pytest.approx(stats.tstd(RAF["cola"]))
    assert gelu["difference"] is None and gelu["score_percent"]["mean"] == pytest.approx(154 / 3)
    cells = cells_of(table(runs), "cola (stand-in)", "raf")
    assert cells["Δ [95 %]"] == f"+1.83 [{interval.low:.2f}, +{interval.high:.2f}]".replace("-", "\N{MINUS SIGN}")
    assert (cells["pairs"], cells["score"]) == ("3", "53.17 ± 1.04")


def test_the_mean_over_tasks_is_paired_by_the_same_seeds(runs: list[Run]) -> None:
    found = table(runs)
    raf = values_of(found, "raf", tasks=["cola", "sst2"])
    means = [[(a + b) / 2 for a, b in zip(one["cola"], one["sst2"], strict=True)] for one in (RAF, GELU)]
    interval = stats.ttest_rel(*means).confidence_interval(0.95)
    assert raf["difference"]["interval_95"] == pytest.approx([interval.low, interval.high])
    assert cells_of(found, "mean of 2", "raf")["fine-tuning seeds"] == "3" and len(found.rows[-1].runs) == 6
    assert "over cola (stand-in), sst2 (stand-in)" in " ".join(found.notes)


def test_a_task_with_two_sets_counts_with_its_headline_and_in_the_mean_with_both(tmp_path: Path) -> None:
    runs = []
    for activation, gain in (("gelu", 0.0), ("raf", 0.1)):
        parent = fake_runs.pretrain(tmp_path, activation)
        for seed in (0, 1):
            sets = {"matched": {"accuracy": 0.5 + gain}, "mismatched": {"accuracy": 0.3 + gain}}
            runs.append(fake_runs.finetune(tmp_path, parent, "mnli", seed, score=0.5 + gain, scores=sets))
            runs.append(fake_runs.finetune(tmp_path, parent, "rte", seed, score=0.6 + gain))
    found = table(runs)
    assert values_of(found, "gelu", task="mnli")["score_percent"]["mean"] == pytest.approx(50)
    assert values_of(found, "gelu", tasks=["mnli", "rte"])["score_percent"]["mean"] == pytest.approx(50)
    assert "mnli with the mean of matched and mismatched" in " ".join(found.notes)
    assert cells_of(found, "rte (stand-in)", "raf")["pairs"] == "2 (equal differences: no interval)"


def test_a_run_without_a_partner_is_in_the_score_and_told_beside_the_difference(tmp_path: Path) -> None:
    runs = tuned(tmp_path, "gelu", {"cola": GELU["cola"][:2]}) + tuned(tmp_path, "raf", RAF)
    found = table(runs)
    assert values_of(found, "raf", task="cola")["score_percent"]["finetuning_seeds"] == 3
    assert cells_of(found, "cola (stand-in)", "raf")["pairs"] == "2 (1 dropped)"
    assert values_of(found, "raf", tasks=["cola", "sst2"])["difference"] is None, "gelu has no sst2"
    assert "Left out, without a seed that was run on all tasks: bert-nano gelu." in found.notes


def test_ways_of_tuning_are_set_beside_each_other_where_the_study_says_so(tmp_path: Path, runs: list[Run]) -> None:
    fixed = tuned(tmp_path, "raf", {"cola": (51.0, 52.0, 55.0)}, settings=FIXED)
    name = "raf (tune=fixed-activation)"
    found = table([*runs, *fixed], "gelu", Stated(activation="raf", against=name))
    interval = stats.ttest_rel(RAF["cola"], (51.0, 52.0, 55.0)).confidence_interval(0.95)
    assert values_of(found, "raf", against=name)["difference"]["interval_95"] == pytest.approx(
        [interval.low, interval.high]
    )
    assert cells_of(found, "cola (stand-in)", name)["pairs"] == "3", "to the baseline as well"


def test_what_is_stated_of_the_pretraining_itself_has_no_fine_tuning_seeds(tmp_path: Path, runs: list[Run]) -> None:
    parents = [fake_runs.pretrain(tmp_path, name, seed) for name in ("gelu", "raf", "relu") for seed in (0, 1)]
    stated = Stated(activation="raf", against="relu")
    found = table([*runs, *tuned(tmp_path, "relu", GELU), *parents], "gelu", stated)
    raf = values_of(found, "raf", task="cola", against="relu")["difference"]["mean"]
    assert raf == pytest.approx(5.5 / 3), "fine-tuned from one seed, though there are two"


def test_transfers_are_compared_so_too(tmp_path: Path) -> None:
    runs = []
    for activation, scores in (("gelu", (0.5, 0.6)), ("raf", (0.6, 0.8))):
        parent = fake_runs.pretrain(tmp_path, activation)
        for seed, score in enumerate(scores):
            learnt = fake_runs.finetune(tmp_path, parent, "mnli", seed, score=score)
            runs += [learnt, fake_runs.transfer(tmp_path, learnt, score - 0.1)]
    differences = [row.values["difference"] for row in table(runs).rows if row.values["activation"] == "raf"]
    assert [one["mean"] for one in differences] == pytest.approx([15, 15])


def test_a_second_pretraining_is_asked_instead(tmp_path: Path, runs: list[Run]) -> None:
    assert "one-pretraining" in [one.name for one in result_tables(compare(runs, "gelu"))]
    more = tuned(tmp_path, "gelu", {"cola": (50.0,)}, seed=1)
    assert "one-pretraining" not in [one.name for one in result_tables(compare([*runs, *more], "gelu"))]


def test_one_run_each_has_nothing_to_vary(tmp_path: Path) -> None:
    runs = tuned(tmp_path, "gelu", {"cola": (50.0,)}) + tuned(tmp_path, "raf", {"cola": (51.0,)})
    assert table(runs).rows == ()


def test_without_a_baseline_the_scores_stand_alone(runs: list[Run]) -> None:
    found = table(runs, "relu")
    assert len(found.rows) == 6 and not any(row.values["difference"] for row in found.rows)
