"""What a study compares besides its baseline: in the family, in the report, and told where it cannot be."""

from __future__ import annotations

from pathlib import Path

import fake_runs
import pytest
from scipy import stats

from actbench.analysis.claims import Claim, judge
from actbench.analysis.comparisons import Family, Stated, compare
from actbench.report.difference_tables import stated_differences
from actbench.report.page import StudyText, write_report
from actbench.report.words import verdicts
from actbench.store import Run

LOSSES = {"gelu": (5.00, 5.02, 4.98), "raf": (4.94, 4.97, 4.93), "swiglu": (4.99, 5.00, 4.97)}
RAF_TO_SWIGLU = Stated(activation="raf", against="swiglu")


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Three seeds of GELU, RAF and SwiGLU; GELU and RAF fine-tuned, RAF also with its functions fixed."""
    root = tmp_path / "runs"
    models = {
        name: [fake_runs.pretrain(root, name, seed, loss=loss) for seed, loss in enumerate(losses)]
        for name, losses in LOSSES.items()
    }
    tuned = [fake_runs.finetune(root, run, "sst2", 0) for name in ("gelu", "raf") for run in models[name]]
    fixed = [fake_runs.finetune(root, run, "sst2", 0, settings={"tune": "fixed-activation"}) for run in models["raf"]]
    return [*(run for each in models.values() for run in each), *tuned, *fixed]


def family_of(runs: list[Run], *stated: Stated) -> Family:
    return compare(runs, "gelu", (), stated)


def test_a_stated_comparison_is_of_its_two_sides_paired_by_seed(runs: list[Run]) -> None:
    (row,) = stated_differences(family_of(runs, RAF_TO_SWIGLU)).rows
    expected = stats.ttest_rel(LOSSES["raf"], LOSSES["swiglu"])
    assert row.values["difference"]["mean"] == pytest.approx(sum(LOSSES["raf"]) / 3 - sum(LOSSES["swiglu"]) / 3)
    assert row.values["difference"]["p_value"] == pytest.approx(expected.pvalue)
    assert row.cells[:3] == ("bert-nano", "pre-training", "raf − swiglu")
    assert sorted(row.runs) == sorted(run.id for run in runs[3:9])


def test_it_counts_in_the_correction_of_all(runs: list[Run]) -> None:
    """The least p of the others is multiplied by one more."""
    plain, more = family_of(runs), family_of(runs, RAF_TO_SWIGLU)
    assert more.tested == plain.tested + 1
    tested = [c.difference for c in more.all if c.difference is not None and c.difference.p_value is not None]
    least = min(tested, key=lambda difference: difference.p_value or 1.0)
    assert least.p_value is not None and least.holm_p == pytest.approx(least.p_value * more.tested)


def test_a_claim_is_corrected_for_it_too(runs: list[Run]) -> None:
    claim = Claim(text="RAF is better.", activation="raf")
    plain, more = (judge(claim, family_of(runs, *stated)).findings[0] for stated in ((), (RAF_TO_SWIGLU,)))
    assert plain.p_value is not None and more.p_value is not None
    assert more.p_value > plain.p_value


def test_two_ways_of_tuning_are_compared_by_their_labels(runs: list[Run]) -> None:
    stated = Stated(activation="raf", against="raf (tune=fixed-activation)")
    rows = stated_differences(family_of(runs, stated)).rows
    assert [row.cells[1] for row in rows] == ["sst2 (stand-in)"]
    assert rows[0].values["against"] == "raf (tune=fixed-activation)"


def test_the_report_says_it_in_a_sentence_and_a_table(runs: list[Run], tmp_path: Path) -> None:
    sentences = verdicts(family_of(runs, RAF_TO_SWIGLU))[0].sentences
    (own,) = (sentence for sentence in sentences if sentence.startswith("Pre-training, against swiglu: "))
    assert "raf −0.0400" in own and "gelu" not in own.replace("swiglu", "")
    write_report(tmp_path / "study", StudyText("Mine", "", None, (RAF_TO_SWIGLU,)), runs, "gelu")
    page = (tmp_path / "study" / "report.html").read_text()
    assert "raf − swiglu" in page and "Stated comparisons" in page
    assert (tmp_path / "study" / "tables" / "stated-differences.csv").is_file()


def test_what_no_model_has_both_sides_of_is_told(runs: list[Run]) -> None:
    (row,) = stated_differences(family_of(runs, Stated(activation="raf", against="relu"))).rows
    assert (
        row.cells[2] == "raf − relu"
        and row.cells[-1] == "no model has finished runs of both, so called and neither its baseline"
    )
    assert not stated_differences(family_of(runs)).rows


def test_a_tuning_mode_is_no_pretrained_model_and_the_baselines_own_are_not_told_twice(runs: list[Run]) -> None:
    """A baseline called so means the activation where nothing is tuned; a stated side means what was tuned."""
    fixed = Stated(activation="raf (tune=fixed-activation)", against="swiglu")
    baseline = Stated(activation="raf", against="gelu")
    rows = stated_differences(family_of(runs, fixed, baseline)).rows
    assert [row.values["difference"] for row in rows] == [None, None]
    assert family_of(runs, fixed, baseline).tested == family_of(runs).tested
