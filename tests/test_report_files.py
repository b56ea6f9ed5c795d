"""What stands beside the page: LaTeX that a compiler takes, CSV with the numbers as they are."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import fake_runs
import pytest

from actbench.analysis.claims import Claim
from actbench.analysis.comparisons import compare
from actbench.report.difference_tables import pretraining_differences
from actbench.report.page import StudyText, write_report
from actbench.report.table import Row, Table, columns
from actbench.report.table_files import to_csv, to_latex
from actbench.store import Run

SPECIAL = '\\ { } $ & # % _ ~ ^ < > | "'


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Three seeds of GELU and RAF, fine-tuned."""
    made = [fake_runs.pretrain(tmp_path / "runs", a, seed) for a in ("gelu", "raf") for seed in range(3)]
    return [*made, *(fake_runs.finetune(tmp_path / "runs", run, task) for run in made for task in ("sst2", "rte"))]


def table(*cells: str) -> Table:
    """A table of one row."""
    heads = (*columns("a"), *columns("b", numeric=True))
    return Table("A title", heads, (Row(cells, {}, ()),), ("A note with 5 %.",), "name")


def test_latex_has_the_rules_of_booktabs_and_a_cell_a_column() -> None:
    lines = [line.strip() for line in to_latex(table("x", "1")).splitlines()]
    rules = [lines.index(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")]
    assert lines[rules[0] + 1 : rules[1]] == [r"a & b \\"]
    assert lines[rules[1] + 1 : rules[2]] == [r"x & 1 \\"]
    assert r"\begin{tabular}{@{}lr@{}}" in lines and r"\caption{A title.}" in lines and r"\label{tab:name}" in lines
    assert lines[-2].endswith(r"A note with 5 \%.")
    begun, ended = (re.findall(rf"\\{what}\{{(\w+)\}}", to_latex(table("x", "1"))) for what in ("begin", "end"))
    assert begun == ended[::-1] == ["table", "tabular"]


def test_nothing_of_a_cell_is_read_as_latex() -> None:
    latex = to_latex(table(SPECIAL, "−1 ± 2 × 3 – Δ"))
    (line,) = (line for line in latex.splitlines() if "textbackslash" in line)
    cell = line.split(" & ")[0] if r"\& " not in line else line[: line.index(r" & $-$")]
    left = re.sub(r"\\(?:text\w+\{\}|[{}$&#%_])", "", cell)
    assert not set(left) & set('\\{}$&#%_~^<>|"')
    assert r"$-$1 $\pm$ 2 $\times$ 3 -- $\Delta$" in line


def test_a_bracket_cannot_become_an_option_of_the_line_before() -> None:
    assert "    {[1, 2]} & 1 \\\\" in to_latex(table("[1, 2]", "1"))


def test_csv_holds_the_exact_values_and_the_runs(runs: list[Run]) -> None:
    made = pretraining_differences(compare(runs, "gelu"))
    (row,) = csv.DictReader(io.StringIO(to_csv(made)))
    difference = made.rows[0].values["difference"]
    assert float(row["difference.mean"]) == difference["mean"]
    assert [float(row[f"difference.interval_95.{end}"]) for end in ("low", "high")] == difference["interval_95"]
    assert row["difference.bootstrap_interval_95.low"] == ""  # too few seeds for one
    assert row["runs"].split() == list(made.rows[0].runs)


def test_every_table_of_the_report_is_a_file_of_each_kind(tmp_path: Path, runs: list[Run]) -> None:
    claim = Claim(text="RAF is better.", activation="raf")
    write_report(tmp_path / "report", StudyText("t", "", claim), runs, "gelu")
    data = json.loads((tmp_path / "report" / "tables.json").read_text())
    files = {path.stem: path for path in (tmp_path / "report" / "tables").glob("*.csv")}
    assert len(files) == len(data["tables"]) == 12
    assert {path.stem for path in (tmp_path / "report" / "tables").glob("*.tex")} == set(files)
    lengths = {len(list(csv.DictReader(path.open(encoding="utf-8")))) for path in files.values()}
    assert lengths == {len(table["rows"]) for table in data["tables"]}
    assert (data["claim"]["verdict"], data["claim"]["direction"]) == ("cannot be judged", "lower")


def test_page_markdown_and_latex_show_the_same_cells(tmp_path: Path, runs: list[Run]) -> None:
    write_report(tmp_path, StudyText("t", ""), runs, "gelu")
    made = pretraining_differences(compare(runs, "gelu"))
    interval = made.rows[0].cells[2]
    number = interval.split()[0].lstrip("−")
    for name in ("report.html", "report.md", "tables/pretraining-differences.tex"):
        assert number in (tmp_path / name).read_text(encoding="utf-8"), name
