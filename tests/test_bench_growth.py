"""`actbench bench growth`: powers that a slow machine does not change, sizes grown one at a time, parts told apart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fake_runs
import pytest
from conftest import ROOT
from typer.testing import CliRunner

from actbench.bench import alternate, machine, output
from actbench.bench.growth import axes, command, fits, packer, sentences, studies, tables, text, texts
from actbench.bench.growth import run as running
from actbench.bench.growth.axes import Axis, Point, Shape
from actbench.bench.growth.command import CommandFailed, Line
from actbench.bench.growth.request import PARTS, Request, request
from actbench.bench.growth.results import Results
from actbench.bench.growth.studies import ListPoint, Studies, StudyPoint
from actbench.bench.growth.texts import Packing, TextPoint, Texts
from actbench.cli import bench
from actbench.cli.main import app
from actbench.data import packing
from actbench.errors import BadInput
from actbench.store import list_runs
from actbench.study import load_study
from actbench.training.hardware import Hardware

EAGER = Hardware("cpu", "fp32", compiled=False, threads=1)
SMALL = Shape(width=16, depth=1, length=16, batch=2, vocabulary=64, head=8)
DOCUMENTS = [f"A river carries stone {n} down to the sea, and no one sees where it came from. " * 9 for n in range(40)]

MACHINE: dict[str, Any] = {
    "gpu": None, "processor": "A processor", "cores_used": 1, "cores": 2, "threads": 1, "load_average": 0.0,
    "libraries": {"torch": "2.0"}, "python": "3.11", "actbench": "0", "date": "2026-01-02T03:04:05", "command": "it",
}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> running.Sizes:
    """Sizes that take moments, on a machine without a compiler."""
    monkeypatch.setattr(machine, "hardware", lambda: EAGER)
    values = {"width": (8, 16), "depth": (1, 2), "length": (8, 16), "batch": (1, 2)}
    return running.Sizes(base=SMALL, axes=values, documents=lambda: DOCUMENTS, listed_runs=(1, 3))


def axis(name: str, times: list[float], **changes: Any) -> Axis:
    """An axis whose doublings take these seconds, the same in two rounds."""
    values = [2**i for i in range(len(times))]
    shapes = [Shape(**{**changes, name: value}) for value in values]
    rows = zip(values, shapes, times, strict=True)
    return Axis(name, tuple(Point(v, shape, (t, t), 10**6, v * 10**6) for v, shape, t in rows))


def packed(seconds: float, megabytes: float) -> Packing:
    return Packing(seconds, round(1e6 * megabytes), 50_000_000, 250_000, 0.02, 0.001)


TEXTS = Texts(
    (
        TextPoint(1_000_000, packed(2, 90), packed(1, 80)),
        TextPoint(4_000_000, packed(8, 100), packed(4, 90)),
        TextPoint(16_000_000, packed(32, 124), packed(8, 90)),
    )
)
STUDIES = Studies(
    (StudyPoint(1, 12, 4, 6, 1, 2, 2), StudyPoint(4, 30, 4, 6, 1, 2, 2)), (ListPoint(1, 1.001), ListPoint(100, 1.1))
)


def results(**changes: Any) -> Results:
    parts: dict[str, Any] = {
        "settings": {**request([], 2, "1,4", "1,2").to_json(), "base": {"width": 128}},
        "hardware": EAGER.facts(), "axes": (axis("length", [1, 2, 4]),), "texts": TEXTS, "studies": STUDIES,
        "failed": (), "warnings": (),
    }  # fmt: skip
    return Results(MACHINE, **{**parts, **changes})


# Powers and lines.


def test_the_exponent_is_the_power() -> None:
    found = fits.exponents([1, 2, 4, 8], [3, 3 * 2**1.5, 3 * 4**1.5, 3 * 8**1.5])
    assert found.whole == pytest.approx(1.5)
    assert found.steps == pytest.approx((1.5, 1.5, 1.5))
    assert fits.exponents([1, 2, 8], [5, 5, 20]).steps == pytest.approx((0, 1))


def test_a_round_in_which_all_is_slow_changes_no_exponent() -> None:
    found = fits.exponents_by_round([1, 2, 4], [[1, 2, 4], [7, 14, 28], [1, 2, 400], [2, 4, 8]])
    assert found.whole == pytest.approx(1) and found.steps == pytest.approx((1, 1))


def test_a_line_is_found_and_tells_of_its_largest_miss() -> None:
    exact = fits.line([1, 2, 4], [5, 7, 11])
    assert (exact.fixed, exact.each, exact.worst) == pytest.approx((3, 2, 0), abs=1e-9)
    missed = fits.line([1, 2, 4, 8], [5, 7, 11, 30])
    share = max(abs((missed.fixed + missed.each * x) / y - 1) for x, y in ((1, 5), (2, 7), (4, 11), (8, 30)))
    assert missed.worst == pytest.approx(share) and missed.worst > 0.05


# A training step.


def test_flops_and_shares_follow_from_the_sizes() -> None:
    shape = Shape(width=64, depth=3, length=32, batch=5, vocabulary=1000)
    layers, head, attention = 6 * 3 * 12 * 64**2, 6 * 1000 * 64, 12 * 3 * 32 * 64
    assert shape.flops == 5 * 32 * (layers + head + attention)
    assert shape.head_share == pytest.approx(head / (layers + head + attention))
    assert shape.attention_share == pytest.approx(attention / (layers + head + attention))


def test_the_base_is_among_the_sizes_and_each_is_twice_the_last() -> None:
    for name, values in axes.SIZES.items():
        assert getattr(Shape(), name) in values and 4 <= len(values) <= 5
        assert all(high == 2 * low for low, high in pairwise(values))
        assert Shape(**{name: values[0]}).section().n_heads >= 1


class Fake:
    """A step that takes as long as its batch is large, on a clock of its own."""

    now, order, slow = 0.0, "", 1.0

    def __init__(self, batch: int):
        self.batch = batch

    def __call__(self) -> None:
        Fake.order += str(self.batch)
        Fake.now += self.batch * Fake.slow
        if self.batch == 4:
            Fake.slow *= 1.5  # slower from round to round

    def held_bytes(self) -> int:
        return 100 * self.batch


def test_all_sizes_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alternate.time, "perf_counter", lambda: Fake.now)
    monkeypatch.setattr(Shape, "step", lambda shape, hardware: Fake(shape.batch))
    found = axes.measure("batch", (1, 2, 4), Shape(), rounds=5, hardware=EAGER)
    assert Fake.order == "124" * alternate.WARM_UP + "124" + "124" + "124" * 5  # memory, how long, the rounds
    assert found.time.whole == pytest.approx(1) and found.time.steps == pytest.approx((1, 1))
    assert [point.held_bytes for point in found.points] == [100, 200, 400]
    assert found.points[1].median == pytest.approx(2 * found.points[0].median)


def test_a_real_step_holds_weights_and_two_moments_and_takes_more_for_more_sequences() -> None:
    found = axes.measure("batch", (1, 4), SMALL, rounds=2, hardware=EAGER)
    layers, embedding, head_and_norms = 12 * 16**2, 64 * 16, 3 * 16
    for point in found.points:
        assert point.shape.section().d_model == 16
        assert 1 <= point.held_bytes / (12 * (layers + embedding + head_and_norms)) < 1.1
        assert point.median > 0
    assert found.points[1].above_bytes > 1.5 * found.points[0].above_bytes > 0
    assert found.flops.whole == pytest.approx(1)


def test_sentences_tell_where_time_follows_the_flops() -> None:
    (following, shares) = sentences.of_axis(axis("length", [1, 1.1, 2.2, 8.8], width=1024))
    assert re.search(
        r"from 1 to 2 it grows more slowly \(0\.14 beside 1\.0\d\); from 2 to 4 it grows as they do "
        r"\(1\.00 beside 1\.0\d\); from 4 to 8 it grows faster \(2\.00 beside 1\.0\d\)\.$",
        following,
    )
    assert "0 % of the FLOPs at 1 and 0 % at 8" in shares
    (_, line) = sentences.of_axis(axis("depth", [0.003, 0.005, 0.009]))
    assert "The nearest line is 1 ms and 2 ms a layer; it misses by 0 % at most." in line


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


def test_each_text_is_packed_twice_in_processes_without_torch(tmp_path: Path, small: running.Sizes) -> None:
    point = texts.measure(100_000, small.documents or list, tmp_path, os.environ)
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


def test_the_first_study_does_not_count(monkeypatch: pytest.MonkeyPatch, small: running.Sizes) -> None:
    asked: list[int] = []
    monkeypatch.setattr(studies, "measure_list", lambda source, runs, *_: ListPoint(runs, 1.0))

    def measure(study: Path, runs: int, folder: Path, environment: dict[str, str]) -> StudyPoint:
        asked.append(runs)
        assert study.is_file() and list(folder.iterdir()) == [] and "growth" in environment["ACTBENCH_CACHE"]
        return StudyPoint(runs, 100.0 if len(asked) == 1 else 2.0 + 3 * runs, 1, 3, 1, 1, 1)

    monkeypatch.setattr(studies, "measure", measure)
    found = running.run(request(["studies"], 2, "1,4", "4,1,2"), command="it", say=lambda _: None, sizes=small)
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


# The command.


def test_what_is_asked_for_is_put_in_order() -> None:
    assert request(["text", "width"], 3, "4,1,4,0.5", "8, 2") == Request(
        ("width", "text"), 3, (500_000, 1_000_000, 4_000_000), (2, 8)
    )
    assert request([], 3, "1,2", "1,2").parts == PARTS


def test_all_that_is_wrong_is_told_at_once(actbench: Callable[..., Any]) -> None:
    done = actbench("bench", "growth", "widht", "--text-mb", "x,1,-2,nan", "--runs", "0.5,2,2", check=2)
    for words in (
        "widht: unknown part (did you mean 'width'?)",
        "--text-mb: 'x' is no number from 0.1 to 1e+06",
        "--text-mb: '-2' is no number",
        "--text-mb: 'nan' is no number",
        "--runs: '0.5' is no whole number from 1 to 10000",
    ):
        assert words in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    with pytest.raises(BadInput, match="--runs: growth needs two sizes at least"):
        request([], 2, "1,2", "2,2")


def test_the_command_measures_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: running.Sizes) -> None:
    monkeypatch.setattr(running, "Sizes", lambda: small)
    page, data = tmp_path / "page.md", tmp_path / "data.json"
    words = ["bench", "growth", "depth", "--rounds", "2", "--json", "-o", str(page), "-o", str(data)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads(data.read_text())
    assert [point["value"] for point in found["axes"][0]["points"]] == [1, 2]
    assert found["settings"]["base"] == {"width": 16, "depth": 1, "length": 16, "batch": 2, "vocabulary": 64}
    assert "A training step against its depth" in page.read_text()
    assert page.read_text().startswith(output.marks("growth")[0])


def test_what_fails_is_told_and_stops_nothing_else(monkeypatch: pytest.MonkeyPatch, small: running.Sizes) -> None:
    def measure(name: str, values: tuple[int, ...], *_: Any, **options: Any) -> Axis:
        if name == "width":
            raise RuntimeError("no memory\nmore of it")
        return axis(name, [1, 2])

    def broken(*_: Any) -> TextPoint:
        raise CommandFailed("exit code 1: no disk")

    monkeypatch.setattr(axes, "measure", measure)
    monkeypatch.setattr(texts, "measure", broken)
    said: list[str] = []
    asked = request(["text", "width", "depth"], 2, "1,4", "1,2")
    found = running.run(asked, command="it", say=said.append, sizes=small)
    assert [each.name for each in found.axes] == ["depth"] and found.texts is None
    assert found.failed == ("width: no memory", "text: exit code 1: no disk")
    assert "failed: width: no memory" in said and "- Failed: width: no memory" in found.to_text(200)


def test_the_json_is_what_the_readme_says() -> None:
    documented = (ROOT / "benchmarks" / "README.md").read_text()
    documented = documented[documented.index("## bench growth") :]

    def keys(data: Any) -> set[str]:
        if isinstance(data, dict):
            return set(data).union(*map(keys, data.values()))
        return set().union(*map(keys, data)) if isinstance(data, list) else set()

    found = results().to_json()
    json.dumps(found, allow_nan=False)
    assert set(found) == {
        *("benchmark", "machine", "settings", "hardware", "axes", "text", "studies", "failed", "warnings"),
    }
    for part in ("axes", "text", "studies"):
        assert [key for key in sorted(keys(found[part])) if f"`{key}`" not in documented] == []
    assert results(texts=None, studies=None, axes=()).to_json()["text"] is None


def test_tables_have_a_row_a_size_and_the_powers_from_the_row_above() -> None:
    rows = tables.axis_table(axis("batch", [0.5, 0.5, 0.1])).rows
    assert [row.cells[0] for row in rows] == ["1", "2", "4"]
    assert [row.cells[1] for row in rows] == ["500 [500, 500]", "500 [500, 500]", "100 [100, 100]"]
    assert [row.cells[6] for row in rows] == ["–", "0.00", "−2.32"]
    assert [row.cells[7] for row in rows] == ["–", "1.00", "1.00"]
    assert tables.exponents_table([axis("batch", [1, 2, 8])]).rows[0].cells[:5] == (
        *("sequences in a step", "1", "4", "1.50", "2.00"),
    )
    assert tables.text_table(TEXTS).rows[1].cells == (
        *("4", "250,000", "8", "32", "100 MB", "4", "16", "90 MB", "20", "0.488"),
    )
    assert tables.study_table(STUDIES).rows[1].cells == ("4", "30", "4", "6", "1", "2", "3", "2")
    assert len(results().to_markdown().split("\n**")) == 6  # the tables


def test_the_page_on_performance_has_a_place_for_all_that_make_bench_measures() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^\t\$\(BENCH\) (\w+)(.*) -o (\S+\.md) -o (\S+\.json)$", makefile, flags=re.MULTILINE)
    registered = {each.callback.__name__ for each in bench.app.registered_commands if each.callback}
    assert {name for name, *_ in commands} == registered
    for name, options, page, _ in commands:
        family = re.search(r"recipes/nano/(\w+)\.yaml", options)
        output.check([ROOT / page], f"{name} {family[1]}-nano" if family else name)
    assert len({data for *_, data in commands}) == len(commands)


def test_packing_needs_no_torch() -> None:
    code = "import sys, actbench.bench.growth.packer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
