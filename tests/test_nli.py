"""Test files for inference and GLUE's unlabelled test sets: read by column name, and every row accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nli_files import labelled, mnli, pairs

from actbench.data.glue import NLI
from actbench.data.glue_tests import SUBMITTED, load_tests
from actbench.data.nli import read_nli
from actbench.data.tasks import Example
from actbench.errors import BadInput

REAL = Path(__file__).parents[2] / "shared" / "data" / "glue"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"needs GLUE's files in {REAL}")
PAIRS = [*pairs(6, 0), ("a river", "a stone", "-"), ("a house", "the wind", "-")]


def problem(file: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_nli(file)
    return str(caught.value)


@pytest.mark.parametrize("name", ["snli_1.0_test.txt", "snli_1.0_test.jsonl"])
def test_rows_without_a_gold_label_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    examples, facts = read_nli(labelled(tmp_path, name, PAIRS))
    assert examples == [Example(a, b, float(NLI.index(label))) for a, b, label in PAIRS[:6]]
    assert (facts["rows"], facts["without_label"], facts["file"]) == (6, 2, name)


def test_both_layouts_are_the_same_data_and_mnlis_is_read_too(tmp_path: Path) -> None:
    files = [labelled(tmp_path, name, PAIRS) for name in ("a.txt", "a.jsonl")]
    first, second = (read_nli(file)[1]["examples_sha256"] for file in files)
    assert first == second
    glue = mnli(tmp_path / "GLUE") / "MNLI" / "dev_matched.tsv"
    assert len(read_nli(glue)[0]) == 18


def test_what_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    assert "no such file" in problem(tmp_path / "absent.txt")
    bad = labelled(tmp_path, "bad.txt", [*pairs(3, 0), ("a", "b", "yes")])
    assert "bad.txt:5: unknown label 'yes', accepted: entailment, neutral, contradiction" in problem(bad)
    bad.write_text("label\tsentence1\tsentence2\nx\ty\tz\n")
    assert "bad.txt:1: no column gold_label (the first line names: label, sentence1, sentence2)" in problem(bad)
    bad.write_text("gold_label\tsentence1\tsentence2\nneutral\tone\n")
    assert "bad.txt:2: 2 columns instead of 3" in problem(bad)
    lines = bad.with_suffix(".jsonl")
    lines.write_text('{"gold_label": "neutral", "sentence1": "a"}\n{\n')
    assert "bad.jsonl:1: no text under sentence2" in problem(lines) and "bad.jsonl:2: not JSON" in problem(lines)
    lines.write_text(json.dumps({"gold_label": "-", "sentence1": "a", "sentence2": "b"}))
    assert "no labelled rows" in problem(lines)


def test_each_test_set_becomes_a_file_of_the_leaderboard(tmp_path: Path) -> None:
    data = mnli(tmp_path / "GLUE")
    assert [test.name for test in load_tests("mnli", data)] == ["MNLI-m", "MNLI-mm"]
    (data / "diagnostic").mkdir()
    (data / "diagnostic" / "diagnostic.tsv").write_text('index\tsentence1\tsentence2\n0\ta "river\tb\n')
    matched, mismatched, ax = load_tests("mnli", data)
    assert (len(matched.examples), len(mismatched.examples), ax.name) == (7, 5, "AX")
    assert ax.written([2.0]) == "index\tprediction\n0\tcontradiction\n"
    assert ax.examples[0].text_a == 'a "river', "quotes are text"
    lines = matched.written([0, 1, 2, 0, 1, 2, 0]).splitlines()
    assert lines[1:4] == ["0\tentailment", "1\tneutral", "2\tcontradiction"]


def test_a_score_is_held_to_its_range_and_an_index_is_the_files_own(tmp_path: Path) -> None:
    for folder, header, row in (
        ("STS-B", "index\tsentence1\tsentence2", "{}\ta\tb"),
        ("QQP", "id\tquestion1\tquestion2", "{}\ta?\tb?"),
    ):
        (tmp_path / folder).mkdir()
        rows = [row.format(index) for index in (7, 3, 9)]
        (tmp_path / folder / "test.tsv").write_text("\n".join([header, *rows]) + "\n")
    (scores,), (questions,) = load_tests("stsb", tmp_path), load_tests("qqp", tmp_path)
    assert scores.written([-0.2, 2.34567, 5.7]) == "index\tprediction\n7\t0.000\n3\t2.346\n9\t5.000\n"
    assert questions.written([1, 0, 1]) == "index\tprediction\n7\t1\n3\t0\n9\t1\n"


def test_a_test_set_with_a_broken_row_is_refused(tmp_path: Path) -> None:
    (tmp_path / "RTE").mkdir()
    file = tmp_path / "RTE" / "test.tsv"
    file.write_text("index\tsentence1\tsentence2\n0\ta\tb\n1\ta\n")
    with pytest.raises(BadInput, match=r"test\.tsv:3: 2 columns instead of 3"):
        load_tests("rte", tmp_path)
    file.unlink()
    with pytest.raises(BadInput, match=r"no test\.tsv here"):
        load_tests("rte", tmp_path)


@needs_real
@pytest.mark.parametrize(
    ("task", "words"),
    [("cola", "01"), ("sst2", "01"), ("mrpc", "01"), ("wnli", "01"), ("rte", ("entailment", "not_entailment"))],
)
def test_real_test_sets_have_the_official_rows(task: str, words: str | tuple[str, ...]) -> None:
    (test,) = load_tests(task, REAL)
    ((name, rows),) = SUBMITTED[task].items()
    assert (test.name, len(test.examples)) == (name, rows)
    assert test.indices == tuple(map(str, range(rows))), "the leaderboard counts from 0"
    written = test.written([row % 2 for row in range(rows)]).splitlines()
    assert written[:3] == ["index\tprediction", f"0\t{words[0]}", f"1\t{words[1]}"] and len(written) == rows + 1


@needs_real
def test_the_real_scores_have_the_official_rows() -> None:
    (test,) = load_tests("stsb", REAL)
    assert len(test.examples) == 1379 and test.examples[0].text_a == "A girl is styling her hair."
