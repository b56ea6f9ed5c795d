"""What the tests of `bench growth` share: sizes that take moments, and results made up."""

from __future__ import annotations

from typing import Any

import pytest

from actbench.bench import machine
from actbench.bench.growth import run as running
from actbench.bench.growth.axes import Axis, Point, Shape
from actbench.bench.growth.request import request
from actbench.bench.growth.results import Results
from actbench.bench.growth.studies import ListPoint, Studies, StudyPoint
from actbench.bench.growth.texts import Packing, TextPoint, Texts
from actbench.training.hardware import Hardware

EAGER = Hardware("cpu", "fp32", compiled=False, threads=1)
SMALL = Shape(width=16, depth=1, length=16, batch=2, vocabulary=64, head=8)
DOCUMENTS = [f"A river carries stone {n} down to the sea, and no one sees where it came from. " * 9 for n in range(40)]

MACHINE: dict[str, Any] = {
    "gpu": None, "processor": "A processor", "cores_used": 1, "cores": 2, "threads": 1, "load_average": 0.0,
    "libraries": {"torch": "2.0"}, "python": "3.11", "actbench": "0", "date": "2026-01-02T03:04:05", "command": "it",
}  # fmt: skip


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
