"""Tables and reports: right numbers, traceable to runs, nothing hidden, safe and stable files."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np
import pytest
from scipy import stats

from actbench.analysis.claims import Claim
from actbench.analysis.comparisons import compare
from actbench.analysis.power import seeds_needed
from actbench.errors import BadInput
from actbench.report.difference_tables import finetuning_differences, pretraining_differences
from actbench.report.page import StudyText, write_report
from actbench.report.table import Table
from actbench.report.tables import finetuning_table, pretraining_table
from actbench.report.task_tables import tasks_table
from actbench.report.words import statement, verdicts
from actbench.store import Run

GELU_LOSSES, RAF_LOSSES = (5.00, 5.02, 4.98), (4.94, 4.97, 4.93)


@pytest.fixture
def pretrained(tmp_path: Path) -> list[Run]:
    """Three seeds of GELU, the same of RAF, one SwiGLU without a partner and one run that was cut short."""
    root = tmp_path / "runs"
    runs = [fake_runs.pretrain(root, "gelu", seed, loss=loss) for seed, loss in enumerate(GELU_LOSSES)]
    runs += [fake_runs.pretrain(root, "raf", seed, loss=loss) for seed, loss in enumerate(RAF_LOSSES)]
    runs.append(fake_runs.pretrain(root, "swiglu", 9, loss=5.1))
    return [*runs, fake_runs.pretrain(root, "relu", 0, finished=False)]


def results(runs: list[Run], baseline: str = "gelu") -> Table:
    """The pre-training runs' results."""
    return pretraining_table(compare(runs, baseline))


def differences(runs: list[Run], baseline: str = "gelu") -> Table:
    """The pre-training runs' differences."""
    return pretraining_differences(compare(runs, baseline))


def values_of(table: Table, activation: str) -> dict[str, Any]:
    """The unrounded values of the only row of an activation."""
    (row,) = (row for row in table.rows if row.values["activation"] == activation)
    return dict(row.values)


def cells_of(table: Table, activation: str) -> dict[str, str]:
    """The cells of the only row of an activation, by heading."""
    (row,) = (row for row in table.rows if row.values["activation"] == activation)
    return dict(zip((column.title for column in table.columns), row.cells, strict=True))


def test_pretraining_rows_hold_the_paired_statistics(pretrained: list[Run]) -> None:
    assert [row.values["activation"] for row in results(pretrained).rows] == ["gelu", "raf", "swiglu"]
    assert values_of(results(pretrained), "raf")["validation_loss"]["mean"] == pytest.approx(sum(RAF_LOSSES) / 3)
    table = differences(pretrained)
    assert [row.values["activation"] for row in table.rows] == ["raf", "swiglu"]
    expected = stats.ttest_rel(RAF_LOSSES, GELU_LOSSES)
    raf = values_of(table, "raf")["difference"]
    assert raf["mean"] == pytest.approx(-0.16 / 3)
    assert raf["p_value"] == pytest.approx(expected.pvalue)
    assert raf["interval_95"] == pytest.approx([*expected.confidence_interval(0.95)])
    assert (raf["permutation_p"], raf["least_permutation_p"]) == (0.25, 0.25)
    assert raf["caution"] == "too few seeds" and raf["bootstrap_interval_95"] is None


def test_cells_show_what_the_values_hold(pretrained: list[Run]) -> None:
    cells = cells_of(results(pretrained), "raf")
    assert cells["validation loss"] == "4.9467 ± 0.0208"
    assert cells["parameters"] == "434,856"
    cells = cells_of(differences(pretrained), "raf")
    assert cells["Δ [95 %]"] == "−0.0533 [−0.0677, −0.0390]"
    assert cells["permutation p (least)"] == "0.250 (0.250)"
    assert cells["pairs"] == "3 (too few seeds)"
    assert "bootstrap [95 %]" not in cells


def test_what_a_token_meets_of_a_mixture_stands_beside_all_parameters(pretrained: list[Run]) -> None:
    assert "active" not in cells_of(results(pretrained), "raf")
    assert values_of(results(pretrained), "raf")["active_parameters"] == 434_856
    for run in pretrained[:3]:
        run.info["model"]["active_parameters"] = 234_567
    cells = cells_of(results(pretrained), "gelu"), cells_of(results(pretrained), "raf")
    assert [one["active"] for one in cells] == ["234,567", "434,856"]
    assert values_of(results(pretrained), "gelu")["active_parameters"] == 234_567
    (size, _) = statement(pretrained[:6])
    assert "434,816 to 434,856 parameters (234,567 a token in mixtures of experts)" in size


def test_six_pairs_show_their_bootstrap_interval_beside_the_t_interval(tmp_path: Path) -> None:
    gains = [0.05, 0.06, 0.04, 0.07, 0.05, 0.03]
    runs = [fake_runs.pretrain(tmp_path, "gelu", seed, loss=5.0) for seed in range(6)]
    runs += [fake_runs.pretrain(tmp_path, "raf", seed, loss=5.0 - gain) for seed, gain in enumerate(gains)]
    cells = cells_of(differences(runs), "raf")
    low, high = values_of(differences(runs), "raf")["difference"]["bootstrap_interval_95"]
    assert cells["bootstrap [95 %]"] == f"[{low:.4f}, {high:.4f}]".replace("-", "\N{MINUS SIGN}")
    assert list(cells).index("bootstrap [95 %]") == list(cells).index("Δ [95 %]") + 1


def test_p_values_are_adjusted_over_all_comparisons_of_the_report(tmp_path: Path, pretrained: list[Run]) -> None:
    """One pre-training difference and one of a fine-tuning task: a family of two."""
    tuned = [fake_runs.finetune(tmp_path / "runs", run, "sst2", 0) for run in pretrained[:6]]
    family = compare([*pretrained, *tuned], "gelu")
    raf = [values_of(make(family), "raf")["difference"] for make in (pretraining_differences, finetuning_differences)]
    low, high = sorted(raf, key=lambda difference: float(difference["p_value"]))
    assert low["holm_p"] == pytest.approx(2 * low["p_value"])
    assert high["holm_p"] == pytest.approx(max(high["p_value"], 2 * low["p_value"]))
    assert "p, Holm of 2" in cells_of(pretraining_differences(family), "raf")


def test_no_table_has_more_columns_than_a_page_holds(tmp_path: Path, pretrained: list[Run]) -> None:
    tuned = [fake_runs.finetune(tmp_path / "runs", run, task, 0) for run in pretrained[:6] for task in ("sst2", "rte")]
    family = compare([*pretrained, *tuned], "gelu")
    tables = (pretraining_table, pretraining_differences, finetuning_table, finetuning_differences, tasks_table)
    assert all(0 < len(make(family).columns) <= 9 and make(family).rows for make in tables)


def test_every_row_names_its_runs(pretrained: list[Run]) -> None:
    rows = {row.values["activation"]: row.runs for row in results(pretrained).rows}
    for activation, ids in rows.items():
        finished = [run.id for run in pretrained if run.activation == activation]
        assert sorted(ids) == sorted(finished)


def test_nothing_is_left_out_in_silence(pretrained: list[Run]) -> None:
    assert f"{pretrained[-1].id} (interrupted)" in " ".join(results(pretrained).notes)
    swiglu = values_of(differences(pretrained), "swiglu")["difference"]
    assert (swiglu["pairs"], swiglu["dropped"], swiglu["caution"]) == (0, 4, "no seed in common")
    assert "4 runs without a partner" in " ".join(differences(pretrained).notes)


def test_an_unknown_baseline_is_said_with_the_nearest(pretrained: list[Run]) -> None:
    assert any("did you mean 'swiglu'" in note for note in results(pretrained, "swigl").notes)
    assert differences(pretrained, "swigl").rows == ()


def test_other_baselines_turn_the_sign(pretrained: list[Run]) -> None:
    assert results(pretrained, "raf").rows[0].values["activation"] == "raf"
    assert values_of(differences(pretrained, "raf"), "gelu")["difference"]["mean"] == pytest.approx(0.16 / 3)


def test_finetuning_counts_pretraining_seeds(tmp_path: Path, pretrained: list[Run]) -> None:
    scores = {
        "gelu": [(0.70, 0.72), (0.74, 0.74), (0.71, 0.71)],
        "raf": [(0.75, 0.77), (0.75, 0.77), (0.73, 0.75)],
    }
    runs = [
        fake_runs.finetune(tmp_path / "runs", parent, "sst2", seed, score=scores[parent.activation][parent.seed][seed])
        for parent in pretrained[:6]
        for seed in (0, 1)
    ]
    family = compare([*pretrained, *runs], "gelu")
    table = finetuning_table(family)
    raf, difference = values_of(table, "raf"), values_of(finetuning_differences(family), "raf")["difference"]
    expected = stats.ttest_rel((76, 76, 74), (71, 74, 71))
    assert difference["pairs"] == 3
    assert difference["mean"] == pytest.approx(10 / 3)
    assert difference["p_value"] == pytest.approx(expected.pvalue)
    assert raf["score_percent"]["seeds"] == 3 and raf["stand_in"] is True
    assert "sst2 (stand-in)" in table.rows[0].cells


def test_finetuning_tells_all_scores_beside_the_headline(tmp_path: Path, pretrained: list[Run]) -> None:
    for task, first, second in (("squad", {"exact_match": 0.5}, {}), ("mnli", {}, {"mismatched": {"accuracy": 0.25}})):
        runs = [
            fake_runs.finetune(
                tmp_path, pretrained[0], task, seed, score=0.7, scores={"dev": {"accuracy": 0.7, **first}, **second}
            )
            for seed in (0, 1)
        ]
        (row,) = finetuning_table(compare(runs, "gelu")).rows
        expected = ("exact_match 50.00", {"exact_match": 50.0})
        if task == "mnli":
            expected = ("mismatched accuracy 25.00", {"mismatched accuracy": 25.0})
        assert (row.cells[-1], row.values["other_scores_percent"]) == expected
        assert row.values["score_percent"]["mean"] == pytest.approx(70)


def test_markdown_cells_cannot_break_the_table(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "gelu")]
    runs[0].info["recipe"]["name"] = "a|b\n<i>*c*"
    lines = results(runs).to_markdown().splitlines()
    (row,) = (line for line in lines if "434,816" in line)
    assert r"a\|b \<i\>\*c\*" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"\|", lines[2]))


def test_text_fits_the_terminal_and_prints_markup_as_it_is(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "gelu")]
    runs[0].info["recipe"]["name"] = "[red]x"
    text = results(runs).to_text(width=160)
    assert "[red]x" in text and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_tables_import_neither_torch_nor_matplotlib() -> None:
    heavy = "{'torch', 'matplotlib'} & set(sys.modules)"
    script = f"import sys, actbench.report.tables; sys.exit(bool({heavy}))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.fixture
def reported(tmp_path: Path, pretrained: list[Run]) -> Path:
    """The folder of a report on all of the runs and a few fine-tunings."""
    tuned = [fake_runs.finetune(tmp_path / "runs", run, "sst2", 0) for run in pretrained[:6]]
    about = "First <script>alert(1)</script> part.\n\nSecond & last."
    claim = Claim(text="RAF is better.", activation="raf")
    write_report(tmp_path / "report", StudyText("A <b>bold</b> title", about, claim), [*pretrained, *tuned], "gelu")
    return tmp_path / "report"


def test_report_comes_in_the_promised_order(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    marks = (
        "Claim",
        "Findings",
        "What these numbers are, and are not",
        "Results",
        "Loss",
        "Learned activations",
        "Speed and memory",
        "Runs, data and environment",
    )
    assert re.findall(r"<h2>(.*)</h2>", page) == list(marks)
    headings = re.findall(r"^## (.*)$", (reported / "report.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == list(marks)


def test_page_is_self_contained_and_escapes_what_users_write(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert "A &lt;b&gt;bold&lt;/b&gt; title" in page and "Second &amp; last." in page
    assert "<script>alert" not in page and "<b>bold" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "url(http" not in page and "@import" not in page


def test_only_the_scripts_that_the_page_came_with_may_run(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = re.findall(r"'sha256-([^']+)'", html.unescape(page))
    assert len(scripts) == 3
    assert allowed == [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert "default-src 'none'" in page


def test_ids_of_inlined_figures_are_unique_and_resolve(tmp_path: Path) -> None:
    """The performance profiles of two models."""
    runs = [fake_runs.pretrain(tmp_path, a, name=f"n{n}", steps=n) for n in (40, 60) for a in ("gelu", "raf")]
    runs += [fake_runs.finetune(tmp_path, run, task) for run in runs for task in ("sst2", "rte")]
    write_report(tmp_path / "report", StudyText("t", ""), runs, "gelu")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    figures = re.findall(r"<svg style.*?</svg>", page, re.DOTALL)
    assert len(figures) == 2
    ids = [set(re.findall(r'\bid="([^"]+)"', figure)) for figure in figures]
    assert not ids[0] & ids[1]
    for figure, own in zip(figures, ids, strict=True):
        used = set(re.findall(r'href="#([^"]+)"', figure)) | set(re.findall(r"url\(#([^)]+)\)", figure))
        assert used and used <= own


def test_report_says_what_the_numbers_are_not(reported: Path) -> None:
    text = (reported / "report.md").read_text(encoding="utf-8")
    assert "not the papers' results" in text
    assert "sst2 is a stand-in" in text
    assert "Fewer than 6 pre-training seeds" in text and "This is so for bert-nano (3 seeds)" in text
    assert "This is so for swiglu of bert-nano." in text
    assert "built-in corpus" in text


def test_real_tasks_are_not_called_stand_ins(tmp_path: Path) -> None:
    parent = fake_runs.pretrain(tmp_path / "runs", "gelu")
    runs = [parent, fake_runs.finetune(tmp_path / "runs", parent, stand_in=False)]
    write_report(tmp_path / "report", StudyText("t", ""), runs, "gelu")
    assert "stand-in" not in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_verdict_names_the_differences_that_exclude_zero_and_those_that_do_not(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    noise = (0.1, -0.11, 0.08, -0.09, 0.1, -0.1)
    runs = [fake_runs.pretrain(root, "gelu", seed, loss=5.0) for seed in range(6)]
    runs += [fake_runs.pretrain(root, "raf", seed, loss=4.8 + noise[seed] / 50) for seed in range(6)]
    runs += [fake_runs.pretrain(root, "relu", seed, loss=5.0 + noise[seed]) for seed in range(6)]
    runs += [fake_runs.pretrain(root, name, 0, loss=4.0) for name in ("swiglu", "silu")]
    write_report(tmp_path / "report", StudyText("t", ""), runs, "gelu")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    verdict = text[text.index("## Findings") : text.index("## What these")]
    assert re.search(r"difference in validation loss to gelu's: raf −0\.\d{4} \\\[.*\(6 seeds\)", verdict)
    assert "no difference to gelu is shown for relu" in verdict and verdict.count("relu") == 1
    assert "no interval for silu and swiglu (one seed)" in verdict


def test_verdict_says_what_correction_and_few_seeds_take_away(tmp_path: Path) -> None:
    """relu: p = 0.03 at six seeds, one of three tests; raf: a tiny p, at five seeds; poly_norm: how many seeds."""
    noise = (0.1, -0.11, 0.08, -0.09, 0.1, -0.08)
    shifts = {"gelu": (0.0, 0.0), "relu": (-0.13, 1.0), "raf": (-0.5, 0.01), "poly_norm": (0.05, 1.0)}
    runs = [
        fake_runs.pretrain(tmp_path, activation, seed, loss=5 + shift + scale * noise[seed])
        for activation, (shift, scale) in shifts.items()
        for seed in range(5 if activation == "raf" else 6)
    ]
    ((verdict,),) = [verdict.sentences for verdict in verdicts(compare(runs, "gelu"))]
    assert re.search(r"not after correction for 3 comparisons: relu −0\.1300 \[.*\] \(6 seeds\);", verdict)
    assert re.search(r"too few seeds to conclude: raf −0\.4998 \[.*\] \(5 seeds\);", verdict)
    assert "difference in validation loss" not in verdict
    needed = seeds_needed(0.05, float(np.std(noise, ddof=1)), 6)
    assert f"for poly_norm ({needed.seeds} [{needed.low} to {needed.high}] seeds)" in verdict


def test_skew_that_changes_the_answer_is_told(tmp_path: Path) -> None:
    losses = (0.010, 0.020, 0.015, 0.030, 0.012, 0.018, 0.120)
    runs = [fake_runs.pretrain(tmp_path, "gelu", seed, loss=5.0) for seed in range(7)]
    runs += [fake_runs.pretrain(tmp_path, "raf", seed, loss=5 + loss) for seed, loss in enumerate(losses)]
    table = differences(runs)
    low, high = values_of(table, "raf")["difference"]["bootstrap_interval_95"]
    assert 0 < low < high and values_of(table, "raf")["difference"]["interval_95"][0] < 0
    assert any("bert-nano, raf: skewed?" in note for note in table.notes)


def test_profiles_stand_in_the_report_of_several_tasks(tmp_path: Path, pretrained: list[Run]) -> None:
    tuned = [fake_runs.finetune(tmp_path / "runs", run, task) for run in pretrained[:6] for task in ("sst2", "rte")]
    write_report(tmp_path / "report", StudyText("t", ""), [*pretrained, *tuned], "gelu")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "(figures/bert-nano-profiles.svg)" in text and "over all tasks" in text
    assert (tmp_path / "report" / "report.html").read_text(encoding="utf-8").count("<svg style") == 1


def test_tables_json_traces_numbers_to_runs(reported: Path, pretrained: list[Run]) -> None:
    data = json.loads((reported / "tables.json").read_text(encoding="utf-8"))
    assert (data["title"], data["baseline"]) == ("A <b>bold</b> title", "gelu")
    known = {run.id for run in pretrained}
    rows = data["tables"][0]["rows"]
    assert [row["activation"] for row in rows] == ["gelu", "raf", "swiglu"]
    assert all(row["runs"] and set(row["runs"]) <= known for row in rows)
    listed = {row["run"]: row["status"] for table in data["tables"] for row in table["rows"] if "status" in row}
    assert listed[pretrained[-1].id] == "interrupted" and len(listed) == len(pretrained) + 6


def test_figures_of_the_markdown_lie_beside_it(reported: Path) -> None:
    linked = re.findall(r"\]\((figures/[^)]+)\)", (reported / "report.md").read_text(encoding="utf-8"))
    assert len(linked) == 4 and all((reported / name).is_file() for name in linked)


def test_the_same_runs_give_the_same_report(tmp_path: Path, reported: Path) -> None:
    """Also in another process with other hashes, and with the runs in another order."""
    data = json.loads((reported / "tables.json").read_text(encoding="utf-8"))
    script = (
        "from pathlib import Path; from actbench.report.page import StudyText, write_report\n"
        "from actbench.store import list_runs\n"
        f"runs = list_runs(Path({str(tmp_path / 'runs')!r}))[::-1]\n"
        f"again = Path({str(tmp_path / 'again')!r})\n"
        "from actbench.analysis.claims import Claim\n"
        "claim = Claim(text='RAF is better.', activation='raf')\n"
        f"write_report(again, StudyText({data['title']!r}, {data['about']!r}, claim), runs, 'gelu')\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=environment)
    files = sorted(path.relative_to(reported) for path in reported.rglob("*") if path.is_file())
    assert len(files) == 7 + 2 * 11  # page, Markdown, tables, four figures; each table twice
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (reported / file).read_bytes(), file


@pytest.mark.parametrize("file", ["activation_inputs.safetensors", "activations.json"])
def test_a_run_that_cannot_be_drawn_costs_its_figure_only(tmp_path: Path, file: str) -> None:
    run = fake_runs.pretrain(tmp_path / "runs", "raf")
    (run.folder / file).write_bytes(b"broken")
    write_report(tmp_path / "report", StudyText("t", ""), [run], "raf")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("Not drawn:") == 1 and 'class="losses"' in page


def test_facts_on_which_runs_disagree_are_counted(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path / "runs", "gelu", seed) for seed in range(3)]
    runs[0].info["environment"]["libraries"]["torch"] = "1.0"
    write_report(tmp_path / "report", StudyText("t", ""), runs, "gelu")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| libraries.torch | 1.0 | 1 |" in text and "| libraries.torch | 2.12.0 | 2 |" in text


def test_nothing_finished_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="none of the runs is finished"):
        write_report(tmp_path, StudyText("t", ""), [fake_runs.pretrain(tmp_path / "runs", finished=False)], "gelu")
