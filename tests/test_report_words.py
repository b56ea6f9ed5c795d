"""What a report says in words follows from its runs: caveats where there is reason, the claim in exact terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest

from actbench.analysis.claims import Claim
from actbench.analysis.comparisons import compare
from actbench.report.activation_panels import panel_grid
from actbench.report.caveats import caveats
from actbench.report.claim_words import claim_text
from actbench.report.forest import forests
from actbench.report.loss_curves import averaged, picked
from actbench.report.numbers import rough
from actbench.report.palette import DARK, LIGHT, contrast, legible
from actbench.report.provenance import facts_table, hashes_table, runs_table
from actbench.report.seeds_table import seeds_table
from actbench.report.words import SEEDS_TOLD, statement, verdicts
from actbench.store import Run

NOISE = (0.01, -0.012, 0.008, -0.009, 0.011, -0.007)


def pairs(root: Path, seeds: int = 6) -> list[Run]:
    """GELU, and RAF 0.05 nats below it."""
    made = [fake_runs.pretrain(root, "gelu", seed, loss=5.0) for seed in range(seeds)]
    return [*made, *(fake_runs.pretrain(root, "raf", seed, loss=4.95 + NOISE[seed]) for seed in range(seeds))]


def real(run: Run) -> Run:
    """As if trained at the papers' scale, on text of one's own."""
    run.info["recipe"]["corpus"] = {"source": "hub", "dataset": "openwebtext"}
    run.info["model"]["parameters"] = 125_000_000
    assert run.manifest is not None
    run.manifest["summary"]["tokens"] = 2e9
    return run


def test_a_study_without_reason_for_caveats_has_but_that_of_rates(tmp_path: Path) -> None:
    (only,) = caveats([real(run) for run in pairs(tmp_path)], "gelu")
    assert "same learning rate (0.001)" in only


def with_machines(runs: list[Run]) -> list[Run]:
    runs[0].info["environment"]["processor"] = "another"
    return runs


def with_sizes(runs: list[Run]) -> list[Run]:
    for run in runs[6:]:
        run.info["model"]["parameters"] *= 1.5
    return runs


def with_mixture(runs: list[Run]) -> list[Run]:
    """Three quarters of a file, one of the built-in corpus."""
    parts = [{"source": "files", "files": ["own.txt"], "weight": 3.0}, {"source": "builtin", "weight": 1.0}]
    for run in runs:
        run.info["recipe"]["corpus"] = {"source": "mixture", "parts": parts}
    return runs


def tuned(root: Path, *scores: float) -> list[Run]:
    return [fake_runs.finetune(root, parent, score=score) for parent, score in zip(pairs(root), scores, strict=False)]


CASES: list[tuple[str, Any, str]] = [
    ("one seed", lambda root: pairs(root, 1), "One seed says nothing of chance"),
    ("few seeds", lambda root: pairs(root, 5), "too few to conclude from"),
    ("scale", pairs, "not the papers' results"),
    ("built-in", pairs, "built-in corpus stands in"),
    ("built-in part", lambda root: with_mixture(pairs(root)), "built-in corpus stands in"),
    ("machines", lambda root: with_machines(pairs(root)), "differ in processor"),
    ("sizes", lambda root: with_sizes(pairs(root)), "sizes are not matched. In parameters, beside gelu: raf +50.0 %"),
    (
        "unfinished",
        lambda root: [*pairs(root), fake_runs.pretrain(root, "relu", finished=False)],
        "1 run not finished and left out of every number (1 interrupted)",
    ),
    ("stand-ins", lambda root: [*pairs(root), fake_runs.finetune(root, pairs(root)[0])], "sst2 is a stand-in"),
    ("alike", lambda root: [*pairs(root), *tuned(root, 0.5, 0.5, 0.5)], "All runs have the same score on sst2: they"),
    ("subset", lambda root: [*pairs(root), fake_runs.finetune(root, pairs(root)[0])], "saw 300 training examples"),
]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_caveat_is_made_of_the_fact_it_is_about(tmp_path: Path, make: Any, expected: str) -> None:
    assert sum(expected in sentence for sentence in caveats(make(tmp_path), "gelu")) == 1


def test_scores_that_differ_are_no_reason_for_a_caveat(tmp_path: Path) -> None:
    told = caveats([*pairs(tmp_path), *tuned(tmp_path, 0.5, 0.5, 0.6)], "gelu")
    assert not any("same score" in sentence for sentence in told)


def test_a_fact_on_which_runs_disagree_names_those_of_each_value(tmp_path: Path) -> None:
    runs = with_machines(pairs(tmp_path, 2))
    rows = {row.cells[:2]: row for row in facts_table("environment", runs).rows}
    assert rows["processor", "another"].runs == (runs[0].id,) and rows["processor", "another"].cells[-1] == "1"
    assert {row.cells[-1] for (fact, _), row in rows.items() if fact != "processor"} == {"all"}


def test_a_mixture_is_told_by_its_parts(tmp_path: Path) -> None:
    assert "The text is a mixture: 75 % the files own.txt and 25 % the built-in corpus, English prose" in " ".join(
        statement(with_mixture(pairs(tmp_path, 1)))
    )


def test_the_claim_is_told_in_exact_terms(tmp_path: Path) -> None:
    runs = pairs(tmp_path)
    text = claim_text(Claim(text="t", activation="raf", margin=0.02), compare(runs, "gelu"))
    assert text.tested == (
        "Tested: raf has a lower validation loss after pre-training than gelu by more than 0.02 nats, in every model."
    )
    (reason,) = text.reasons
    assert reason.startswith("bert-nano: supported, −0.0498 [−0.0") and "nats over 6 seeds" in reason
    assert "against the margin of 0.02, p < 0.001 after Holm's correction for 1 comparison" in reason


def test_too_few_seeds_are_told_with_how_many_it_takes(tmp_path: Path) -> None:
    (reason,) = claim_text(Claim(text="t", activation="raf"), compare(pairs(tmp_path, 3), "gelu")).reasons
    assert "over 3 seeds; it takes 6 to conclude" in reason


def unclear(root: Path, *losses: float) -> list[str]:
    """The findings on RAF with these losses, a seed each, beside a GELU at 5.0 throughout."""
    runs = [fake_runs.pretrain(root, "gelu", seed, loss=5.0) for seed in range(len(losses))]
    runs += [fake_runs.pretrain(root, "raf", seed, loss=loss) for seed, loss in enumerate(losses)]
    return [sentence for verdict in verdicts(compare(runs, "gelu")) for sentence in verdict.sentences]


def test_the_seeds_that_would_show_it_are_said_to_be_before_correction(tmp_path: Path) -> None:
    (sentence,) = unclear(tmp_path, 4.9, 5.0, 5.05)
    assert "no difference to gelu is shown for raf (" in sentence
    assert sentence.endswith(f" seeds){SEEDS_TOLD}.") and "before correction for many comparisons" in SEEDS_TOLD


def test_two_pairs_are_no_ground_to_count_seeds_by(tmp_path: Path) -> None:
    assert unclear(tmp_path, 4.9, 5.05) == ["Pre-training: no difference to gelu is shown for raf."]


def test_what_lacks_intervals_for_one_reason_is_told_once(tmp_path: Path) -> None:
    pretrained = pairs(tmp_path, seeds=1)
    tuned = [fake_runs.finetune(tmp_path, run, task) for run in pretrained for task in ("cola", "rte")]
    (verdict,) = verdicts(compare([*pretrained, *tuned], "gelu"))
    assert verdict.sentences == (
        "Pre-training, cola (stand-in) and rte (stand-in): no interval of any difference (one seed).",
    )
    again = [fake_runs.finetune(tmp_path, run, "rte", finetune_seed=1) for run in pretrained]
    (verdict,) = verdicts(compare([*pretrained, *tuned, *again], "gelu"))
    assert verdict.sentences[0].endswith("over fine-tuning seeds alone, see: One pre-trained model each.")


def test_the_table_of_seeds_counts_none_by_two_pairs(tmp_path: Path) -> None:
    (row,) = seeds_table(compare(pairs(tmp_path, 2), "gelu").pretraining, 0.01, 0.8).rows
    assert row.values["seeds_needed"] is None and row.cells[-1] == "–"
    table = seeds_table(compare(pairs(tmp_path / "more", 3), "gelu").pretraining, 0.01, 0.8)
    assert table.rows[0].values["seeds_needed"]["seeds"] >= 6
    assert "number of seeds are for the paired t-test at 5 %, before correction" in table.notes[0]


def test_a_run_is_told_by_what_it_changes_in_the_baselines(tmp_path: Path) -> None:
    runs = [*pairs(tmp_path, 2), fake_runs.pretrain(tmp_path, "raf", 5)]
    cells = {row.cells[0]: row.cells for row in runs_table(runs, "gelu").rows}
    assert cells[runs[0].id][-1] == "the baseline itself"
    assert cells[runs[2].id][-1] == "model.activation.name: gelu → raf"
    assert cells[runs[4].id][-1] == "no such run"


def test_hashes_are_whole_in_the_values_and_short_in_the_cells(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "gelu")
    (row,) = hashes_table([run]).rows
    digest = run.manifest["files"]["metrics.jsonl"] if run.manifest else ""
    assert row.values["files"]["metrics.jsonl"] == digest and digest[:12] in row.cells


def test_an_interval_that_dwarfs_the_others_runs_off_the_forests_axis(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "gelu", seed, loss=5.0) for seed in range(6)]
    spread = {"raf": 1.0, "silu": 1.1, "relu": 0.9, "poly_relu": 300.0}
    runs += [fake_runs.pretrain(tmp_path, a, s, loss=4.9 + k * NOISE[s]) for a, k in spread.items() for s in range(6)]
    (forest,) = forests(compare(runs, "gelu"))
    row = {row.label: row for row in forest.rows}
    assert all(forest.is_off(end) for end in row["poly_relu"].interval or ())
    assert not any(forest.is_off(end) for end in row["raf"].interval or ())
    assert forest.position(0) == 50 and 0 < forest.position(row["raf"].mean) < 50
    assert row["raf"].sure and not row["poly_relu"].sure
    assert forest.ticks == tuple(-tick for tick in reversed(forest.ticks))


def test_curves_are_thinned_without_losing_their_ends_or_their_mean() -> None:
    steps, loss = np.arange(1.0, 1001.0), np.linspace(9, 4, 1000)
    x, y = picked(steps, loss, 300)
    assert len(x) == 300 and (x[0], x[-1]) == (1, 1000) and y[-1] == 4
    (x, y), width = averaged(steps, loss, 300)
    assert width == 4 and len(x) == 250 and x[0] == 2.5 and y.mean() == pytest.approx(loss.mean())
    (x, y), width = averaged(steps[:10], loss[:10], 300)
    assert width == 1 and y.tolist() == loss[:10].tolist()
    (x, y), _ = averaged(steps[:7], np.arange(7.0), 3)
    assert (x.tolist(), y.tolist()) == ([2.0, 5.0, 7.0], [1.0, 4.0, 6.0])


@pytest.mark.parametrize("ground", [LIGHT, DARK])
@pytest.mark.parametrize("colour", ["#222222", "#e69f00", "#332288", "#56b4e9", "#ffffff", "#000000"])
def test_a_colour_is_made_to_stand_out_and_changed_no_further(colour: str, ground: str) -> None:
    from matplotlib.colors import to_rgb

    tone = legible(colour, ground)
    assert contrast(to_rgb(tone), to_rgb(ground)) >= 3
    assert (tone == colour) is (contrast(to_rgb(colour), to_rgb(ground)) >= 3)


def test_a_dark_grey_is_a_light_one_on_a_dark_ground() -> None:
    assert legible("#222222", DARK) == "#dddddd"


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast((119 / 255,) * 3, (1, 1, 1)) == pytest.approx(4.48, abs=0.01)  # #777 on white


def test_panels_hold_the_curves_of_every_layer(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "raf", layers=3)
    grid = panel_grid(run, "bert-nano", "raf")
    assert [panel.title for panel in grid.panels] == ["Layer 1", "Layer 2", "Layer 3"]
    assert grid.low < 0 < grid.high
    for panel in grid.panels:
        assert panel.before != panel.after and panel.inputs.startswith("M0 34V")
        x = [float(point.split()[0]) for point in panel.after[1:].split("L")]
        assert x[0] == 0 and x[-1] == 200 and x == sorted(x) and len(x) > 150


@pytest.mark.parametrize(
    ("value", "said"), [(999, "999"), (999_400, "999 K"), (999_936, "1 M"), (1.64e6, "1.64 M"), (999_981_056, "1 B")]
)
def test_rough_numbers_have_three_digits(value: float, said: str) -> None:
    assert rough(value) == said
