"""`actbench bench growth`: powers that a slow machine does not change, sizes grown one at a time, what is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from fake_growth import EAGER, SMALL, STUDIES, TEXTS, axis, results, small
from typer.testing import CliRunner

from actbench.bench import alternate, output
from actbench.bench.activations.request import MODES, place
from actbench.bench.growth import axes, fits, sentences, tables, texts
from actbench.bench.growth import run as running
from actbench.bench.growth.axes import Axis, Shape
from actbench.bench.growth.command import CommandFailed
from actbench.bench.growth.request import PARTS, Request, request
from actbench.bench.growth.texts import TextPoint
from actbench.cli import bench
from actbench.cli.main import app
from actbench.errors import BadInput

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


def test_the_command_measures_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = small(monkeypatch)
    monkeypatch.setattr(running, "Sizes", lambda: sizes)
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


def test_what_fails_is_told_and_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
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
    found = running.run(asked, command="it", say=said.append, sizes=small(monkeypatch))
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
        places = {"step": [f"step {family[1]}-nano"] if family else [], "activations": map(place, MODES)}
        output.check([ROOT / page], *places.get(name, [name]))
    assert len({data for *_, data in commands}) == len(commands)
