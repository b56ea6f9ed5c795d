"""`actbench bench activations`: what it reads, what it writes, and what it says when something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from typer.testing import CliRunner

from actbench import activations
from actbench.bench import machine, output
from actbench.bench.activations.cells import Cell, Limits
from actbench.bench.activations.peers import RationalActivations
from actbench.bench.activations.request import MODES, Request, place, request
from actbench.bench.activations.results import Results
from actbench.bench.activations.run import run
from actbench.bench.alternate import Comparison
from actbench.cli.main import app
from actbench.errors import BadInput
from actbench.training.hardware import Hardware

TINY = ("--shapes", "8x16", "--rounds", "2")
MACHINE: dict[str, Any] = {
    "gpu": None, "processor": "A processor", "cores_used": 1, "cores": 2, "threads": 1, "load_average": 0.0,
    "libraries": {"torch": "2.0"}, "python": "3.11", "actbench": "0", "date": "2026-01-02T03:04:05", "command": "it",
}  # fmt: skip

BEGIN, END = output.marks("activations eager")


def asked(*names: str, modes: str = "eager", dtypes: str = "fp32") -> Request:
    return request(names, dtypes, modes, "8x16", 2)


def measured(wanted: Request, **options: Any) -> tuple[Results, list[str]]:
    said: list[str] = []
    defaults: dict[str, Any] = {"with_peers": False, "step_names": (), "sequences": 1, "command": "it"}
    return run(wanted, **{**defaults, **options}, say=said.append), said


def results(*cells: Cell, **changes: Any) -> Results:
    parts: dict[str, Any] = {"skipped": (), "failed": (), "warnings": (), "settings": {"rounds": 2, "modes": ["eager"]}}
    return Results(MACHINE, cells=cells, **{**parts, **changes})


def cell(name: str, ratio: float, **changes: Any) -> Cell:
    parts: dict[str, Any] = {
        "kind": "function", "against": "gelu", "shape": (8, 16), "dtype": "fp32", "mode": "eager", "gated": False,
        "limits": Limits(4.0), "comparison": Comparison(ratio, 1.0, ratio, (ratio, ratio + 0.5), 300, 200),
    }  # fmt: skip
    return Cell(name=name, **{**parts, **changes})


# What is asked for.


def test_without_names_all_that_learn_are_measured() -> None:
    names = asked().names
    assert {"raf", "poly_relu", "poly_norm"} <= set(names)
    assert not {"gelu", "relu", "swiglu", "tanh"} & set(names)
    assert list(names) == [name for name in activations.available() if name in names]


def test_lists_are_read_in_order_each_item_once() -> None:
    wanted = request(["gelu", "raf", "gelu"], "bf16, fp32,bf16", "eager", "4x8,16x32,4x8", 7)
    assert wanted == Request(("gelu", "raf"), ("bf16", "fp32"), ("eager",), ((4, 8), (16, 32)), 7)


def test_all_that_is_wrong_is_told_at_once(actbench: Callable[..., Any], tmp_path: Path) -> None:
    done = actbench(
        "bench", "activations", "rafe", "--dtypes", "fp23", "--modes", "compile", "--shapes", "8,0x4,8x16x2", check=2
    )
    for words in (
        "--dtypes: unknown 'fp23' (did you mean 'fp32'?)",
        "--modes: unknown 'compile' (did you mean 'compiled'?)",
        "--shapes: '8' is not a shape (rows and width, as in 2048x3072)",
        "--shapes: '0x4' is not a shape",
        "--shapes: '8x16x2' is not a shape",
        "rafe: unknown activation 'rafe' (did you mean 'raf'?)",
    ):
        assert words in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["a.mdd", "nowhere/a.md", "page.md"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path, name: str) -> None:
    (tmp_path / "page.md").write_text("A page of something else.\n")
    with pytest.raises(BadInput, match=name):
        output.check([tmp_path / name], "activations")


def test_the_command_looks_at_its_files_first() -> None:
    done = CliRunner().invoke(app, ["bench", "activations", "silu", *TINY, "-o", "a.mdd"])
    assert isinstance(done.exception, BadInput)
    assert "[1/" not in done.output


# What comes out.


def test_the_command_measures_and_writes(actbench: Callable[..., Any], tmp_path: Path) -> None:
    page, data = tmp_path / "page.md", tmp_path / "data.json"
    done = actbench("bench", "activations", "raf", "silu", *TINY, "-o", page, "-o", data, "--json", check=0)
    found = json.loads(done.stdout)
    assert found == json.loads(data.read_text())
    assert set(found) == {"benchmark", "machine", "settings", "cells", "skipped", "failed", "warnings"}
    assert {"processor", "cores_used", "threads", "libraries", "python", "actbench", "date", "load_average"} <= set(
        found["machine"]
    )
    assert found["machine"]["command"].startswith("actbench bench activations raf silu --shapes 8x16")
    where = [(c["name"], c["mode"], c["dtype"]) for c in found["cells"]]
    modes = [mode for mode in ("eager", "compiled") if not any(mode in reason for reason in found["skipped"])]
    assert where == [(n, m, d) for n in ("raf", "silu") for m in modes for d in ("fp32", "bf16")]
    documented = (ROOT / "benchmarks" / "README.md").read_text()
    for one in found["cells"]:
        assert one["shape"] == [8, 16] and one["against"] == "gelu"
        assert one["time_ratio"] > 0 and one["memory_bytes"] > 0 and len(one["time_quartiles"]) == 2
        assert (one["target"] is None) is (one["met"] is None) is (one["name"] == "silu")
        assert all(f"`{key}`" in documented for key in one)
    assert all(f"`{key}`" in documented for key in found if key != "benchmark")
    assert f"[{len(where)}/{len(where)}] silu" in done.stderr
    assert "| raf |" in page.read_text() and "actbench bench activations raf silu" in page.read_text()
    assert "USDT" not in done.stderr


def test_the_table_has_a_row_an_activation_and_a_cross_where_a_target_is_missed() -> None:
    table, other = results(
        cell("raf", 3.9), cell("slow", 4.1), cell("slow", 2.0, dtype="bf16"), cell("raf", 2.0, mode="compiled")
    ).tables()[::-1]
    assert [column.title for column in table.columns] == ["", "fp32 8x16", "bf16 8x16"]
    assert [row.cells for row in table.rows] == [
        ("gelu, its time", "1 ms", "1 ms"),
        ("raf", "3.90 [3.90, 4.40] 1.50", "–"),
        ("slow", "4.10 [4.10, 4.60] 1.50 ✗", "2.00 [2.00, 2.50] 1.50"),
    ]
    assert "compiled" in other.title


def test_a_page_keeps_what_stands_around_the_results(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    for ratio in (1.0, 2.0):
        output.check([page], "activations eager")
        output.write(results(cell("raf", ratio)), page)
    text = page.read_text()
    assert text.startswith(f"Before.\n\n{BEGIN}\n") and text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text and "1.00 \\[" not in text and "2.00 \\[2.00, 2.50\\] 1.50" in text


def test_the_page_on_performance_has_a_place_for_the_results() -> None:
    output.check([ROOT / "docs" / "performance.md"], *map(place, MODES))


@pytest.mark.parametrize("exists", [True, False])
def test_each_mode_has_a_place_of_its_own(tmp_path: Path, exists: bool) -> None:
    page = tmp_path / "page.md"
    if exists:
        page.write_text("".join("\n".join([*output.marks(place(mode)), ""]) for mode in MODES))
    both = {"rounds": 2, "modes": list(MODES)}
    eager, compiled = cell("raf", 1.0, mode="eager"), cell("raf", 2.0, mode="compiled")
    for found in (results(eager, compiled, settings=both), results(cell("raf", 3.0, mode="eager"))):
        for part in found.by_mode():
            output.write(part, page)
    text = page.read_text()
    (first, second), (third, last) = (map(text.index, output.marks(place(mode))) for mode in MODES)
    assert first < text.index("2.00 \\[") < second < third < text.index("3.00 \\[") < last
    assert "1.00 \\[" not in text and text.count("<!--") == 4


# What is missing, broken or busy.


def test_a_peer_that_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actbench.bench.activations.peers.find_spec", lambda name: None)
    found, said = measured(asked("raf", "poly_norm"), with_peers=True)
    peers = [c for c in found.cells if c.kind == "peer"]
    assert [(c.name, c.against) for c in peers] == [("Liger's formula in plain torch", "poly_norm")]
    ours = next(c for c in found.cells if c.name == "poly_norm")
    assert peers[0].comparison.baseline_memory_bytes == ours.comparison.memory_bytes
    (reason,) = found.skipped
    assert "pip install --no-deps rational-activations" in reason
    assert any(reason in line for line in said)
    assert reason in found.to_text(200) and "no-deps rational-activations" in found.to_markdown()


def test_the_peer_of_raf_is_measured_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "rational"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "torch.py").write_text(
        "import torch\n"
        "class Rational(torch.nn.Module):\n"
        "    def __init__(self, approx_func, degrees, cuda, version):\n"
        "        assert (approx_func, degrees, cuda, version) == ('gelu', (5, 4), False, 'A')\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Parameter(torch.ones(()))\n"
        "    def forward(self, x):\n"
        "        return x.float() * self.a\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found, _ = measured(asked("raf", dtypes="bf16"), with_peers=True)
    assert [(c.kind, c.name, c.against) for c in found.cells][1:] == [("peer", "rational-activations", "raf")]
    assert found.skipped == () and found.failed == ()
    assert RationalActivations()(torch.ones(3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_what_fails_is_told_and_stops_nothing_else(actbench: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import torch\nfrom actbench.activations import Activation\n"
        "class Bad(Activation):\n"
        "    def compute(self, x):\n"
        "        if x.shape[0] == 8:\n"
        "            raise ArithmeticError('no eights')\n"
        "        return x\n"
    )
    done = actbench("bench", "activations", "bad.py:Bad", "silu", *TINY, "--modes", "eager", "--json", check=1)
    found = json.loads(done.stdout)
    assert [c["name"] for c in found["cells"]] == ["silu", "silu"]
    assert found["failed"] == [
        f"bad.py:Bad {dtype} eager 8x16: ArithmeticError: no eights" for dtype in ("fp32", "bf16")
    ]
    assert "could not measure" in done.stderr and "no eights" in done.stderr and "Traceback" not in done.stderr


def test_without_a_compiler_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: Hardware("cpu", "fp32", compiled=False, threads=1))
    found, _ = measured(asked("silu", modes="compiled,eager"))
    assert [c.mode for c in found.cells] == ["eager"]
    assert found.skipped == ("compiled: no compiler found for cpu",)
    with pytest.raises(BadInput, match="no compiler found for cpu"):
        measured(asked("silu", modes="compiled"))


@pytest.mark.parametrize(("load", "warned"), [(0.2, False), (1.7, True)])
def test_a_busy_machine_is_told_and_measured_anyway(monkeypatch: pytest.MonkeyPatch, load: float, warned: bool) -> None:
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (load, 0.0, 0.0))
    found, said = measured(asked("silu"))
    assert len(found.cells) == 1
    assert [("load average was 1.70" in warning) for warning in found.warnings] == [True] * warned
    assert any("load average" in line for line in said) is warned
    assert ("load average" in found.to_markdown()) is warned
