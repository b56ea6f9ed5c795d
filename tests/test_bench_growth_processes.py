"""`actbench bench growth`: what texts and studies cost, in processes of their own, of which none stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fake_runs
import pytest
from fake_growth import DOCUMENTS, TEXTS, small

from actbench.bench.growth import command, packer, sentences, studies, text, texts
from actbench.bench.growth import run as running
from actbench.bench.growth.command import CommandFailed, Line
from actbench.bench.growth.request import request
from actbench.bench.growth.studies import ListPoint, StudyPoint
from actbench.data import packing
from actbench.errors import BadInput
from actbench.store import list_runs
from actbench.study import load_study

# Texts.


def test_a_text_is_the_same_each_time_with_every_hundredth_word_a_new_one(tmp_path: Path) -> None:
    size = text.write(lambda: DOCUMENTS, 200_000, tmp_path / "a")
    assert 200_000 <= size < 200_000 + max(map(len, DOCUMENTS)) + text.NEW_EVERY
    assert text.write(lambda: DOCUMENTS, 400_000, tmp_path / "b") >= 400_000
    assert (tmp_path / "b").read_text().startswith((tmp_path / "a").read_text())
    words = [word for row in (tmp_path / "b").open() for word in json.loads(row)["text"].split()]
    known = {word for document in DOCUMENTS for word in document.split()}
    new = [word for word in words if word not in known]
    assert 0.0095 < len(new) / len(words) < 0.0105 and len(set(new)) == len(new)


def test_packing_is_that_of_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text.write(lambda: DOCUMENTS, 60_000, tmp_path / "text.jsonl")
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "learnt"))
    said: list[str] = []
    found = packer.pack(tmp_path / "text.jsonl", "600")
    corpus = packer.FilesCorpus(source="files", files=[str(tmp_path / "text.jsonl")])
    section = packer.TokenizerSection(kind="byte_bpe", vocab_size=600)
    data = packing.prepare(corpus, section, packer.HELD_OUT, said.append)
    assert "found in the cache" in said[0]
    assert found["tokens"] == len(data.train) + len(data.validation) > 5000
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "given"))
    assert packer.pack(tmp_path / "text.jsonl", found["tokenizer"])["tokens"] == found["tokens"]


def test_each_text_is_packed_twice_in_processes_without_torch(tmp_path: Path) -> None:
    point = texts.measure(100_000, lambda: DOCUMENTS, tmp_path, os.environ)
    assert point.size >= 100_000 and point.learnt.tokens == point.given.tokens > 0
    assert {path.name for path in tmp_path.iterdir()} == {"text.jsonl", "learnt", "given"}
    for found in (point.learnt, point.given):
        assert found.bytes_before <= found.peak_bytes < 150e6  # torch alone takes more
        assert found.seconds > 0 and found.batch > 0 and found.first_batch > 0


def test_the_texts_need_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 3_900_000}))
    texts.check_room([900_000])
    with pytest.raises(BadInput, match=r"--text-mb: needs 0\.0 GB in .*\(set TMPDIR"):
        texts.check_room([100_000, 1_000_000])


def test_memory_is_told_by_the_megabyte_of_text() -> None:
    time_, memory, *_ = sentences.of_texts(TEXTS)
    assert "by the power 1.00 of the text's size, 1.00 between the last two; with a ready tokenizer by 0.75" in time_
    assert "90 to 124 MB, between the last two 2 MB for each MB of text" in memory
    assert "ready tokenizer 80 to 90 MB, between the last two 0 MB" in memory and "it was 50 MB" in memory


def test_packing_needs_no_torch() -> None:
    code = "import sys, actbench.bench.growth.packer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Studies.


def test_a_studys_parts_add_up() -> None:
    begin = "finished runs: 0; tasks to do: 2"
    said = [(4.0, begin), (9.0, "[1/2] a"), (15.0, "[2/2] b"), (16.0, "writing runs/s/report.html"), (19.0, "")]
    point = studies._point(2, [Line(*line) for line in said], [[1.0, 2.0, 3.0], [2.0, 2.5, 5.0]])
    assert (point.whole, point.start, point.a_run, point.report) == (19, 4, 6, 3)
    assert (point.first_step, point.other_steps, point.overhead) == (1.5, 2.5, 2)
    assert point.whole == point.start + 2 * point.a_run + point.report


def test_a_study_has_a_run_a_seed(tmp_path: Path) -> None:
    loaded = load_study(studies.write_study(tmp_path, 3, tmp_path / "text.jsonl"))
    recipes = [job.recipe for job in loaded.jobs]
    assert [recipe.seed for recipe in recipes] == [0, 1, 2]
    assert {recipe.budget.steps for recipe in recipes} == {studies.STEPS}
    assert {recipe.logging.every_steps for recipe in recipes} == {1}  # the first step is told apart


def test_a_study_is_measured_by_what_it_says_and_its_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_runs.pretrain(tmp_path / "runs")
    asked: list[list[str]] = []

    def run(module: str, arguments: list[str], environment: dict[str, str]) -> list[Line]:
        asked.append([module, *arguments])
        return [Line(1.0, "finished runs: 0; tasks to do: 1"), Line(60.0, "writing runs/s/report.html"), Line(61.0, "")]

    monkeypatch.setattr(command, "run", run)
    point = studies.measure(tmp_path / "s.yaml", 1, tmp_path / "runs", os.environ)
    assert asked == [["actbench", "study", "run", str(tmp_path / "s.yaml"), "--runs", str(tmp_path / "runs")]]
    rows = [row["seconds"] for row in list_runs(tmp_path / "runs")[0].metrics() if row["kind"] == "train"]
    assert (point.first_step, point.other_steps) == (rows[0], rows[-1] - rows[0])


def test_a_list_reads_so_many_runs(tmp_path: Path) -> None:
    fake_runs.pretrain(tmp_path / "runs")
    for number in (1, 3):
        listed = studies.measure_list(tmp_path / "runs", number, tmp_path / "listed", os.environ)
        assert listed.runs == number and listed.seconds > 0
        assert [run.status for run in list_runs(tmp_path / "listed")] == ["finished"] * number


def test_the_first_study_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(studies, "measure_list", lambda source, runs, *_: ListPoint(runs, 1.0))

    def measure(study: Path, runs: int, folder: Path, environment: dict[str, str]) -> StudyPoint:
        asked.append(runs)
        assert study.is_file() and list(folder.iterdir()) == [] and "growth" in environment["ACTBENCH_CACHE"]
        return StudyPoint(runs, 100.0 if len(asked) == 1 else 2.0 + 3 * runs, 1, 3, 1, 1, 1)

    monkeypatch.setattr(studies, "measure", measure)
    found = running.run(
        request(["studies"], 2, "1,4", "4,1,2"), command="it", say=lambda _: None, sizes=small(monkeypatch)
    )
    assert asked == [1, 1, 2, 4] and found.studies is not None
    assert [point.runs for point in found.studies.points] == [1, 2, 4]
    assert (found.studies.line.fixed, found.studies.line.each) == pytest.approx((2, 3))
    assert "2 s and 3 s a run" in found.to_text(200)


# Other processes.


def test_a_process_that_fails_is_told_by_its_last_line() -> None:
    with pytest.raises(CommandFailed, match=r"exit code \d: .*nowhere"):
        command.run("json.tool", ["nowhere.json"], os.environ)


def test_nothing_that_was_started_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(99)\n"
    )
    pids: list[int] = []

    def lines(process: subprocess.Popen[str], began: float) -> Iterator[Line]:
        assert process.stdout is not None
        pids.extend([process.pid, int(process.stdout.readline())])
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(command, "_lines", lines)
    with pytest.raises(KeyboardInterrupt):
        command.run("parent", [], {**os.environ, "PYTHONPATH": str(tmp_path)})
    deadline = time.monotonic() + 10
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")  # dead, not waited for yet
