"""What the numbers say about where growth stops being linear. Every sentence comes from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from actbench.bench.growth.axes import Axis
from actbench.bench.growth.fits import Line
from actbench.bench.growth.studies import Studies
from actbench.bench.growth.texts import Packing, Texts
from actbench.report.numbers import MINUS, plain

ALIKE = 0.15  # exponents closer than this grow alike
EACH = {"depth": ("layer", "what comes once a step: embedding, head, loss"), "batch": ("sequence", "the optimiser")}


def of_axis(axis: Axis) -> tuple[str, ...]:
    """Where time follows the FLOPs; what makes the FLOPs themselves grow unevenly; the line for what should be one."""
    said = [_following(axis)]
    first, last = axis.points[0].shape, axis.points[-1].shape
    if axis.name == "width":
        said.append(
            f"The head, whose products grow with the width alone, has {_percent(first.head_share)} of the FLOPs at "
            f"{first.width} and {_percent(last.head_share)} at {last.width}; the layers' grow with its square."
        )
    if axis.name == "length":
        said.append(
            f"Attention's own products, which grow with the length's square, have {_percent(first.attention_share)} of "
            f"the FLOPs at {first.length} and {_percent(last.attention_share)} at {last.length}."
        )
    if axis.name in EACH:
        each, what = EACH[axis.name]
        said.append(f"{_line(axis.line, 1000, 'ms', each)} In the fixed part is {what}, and Python around it.")
    return tuple(said)


def of_texts(texts: Texts) -> tuple[str, ...]:
    """By which powers time and memory grow, and what memory a megabyte of text takes."""
    points = texts.points
    learnt = _peaks([point.size for point in points], [point.learnt for point in points])
    given = _peaks([point.size for point in points], [point.given for point in points])
    time, ready = texts.learnt_time, texts.given_time
    return (
        f"Time grows by the power {power(time.whole)} of the text's size, {power(time.last)} between the last two; "
        f"with a ready tokenizer by {power(ready.whole)} and {power(ready.last)}.",
        f"The peak of the process's memory, from the smallest text to the largest: {learnt}; with a ready tokenizer "
        f"{given}. Before packing began it was {points[-1].given.bytes_before / 1e6:.0f} MB.",
        "The text is the built-in corpus over and over, where every hundredth word is a made-up one. Learning a "
        "tokenizer keeps every different word in memory, with how often it comes; packing keeps the tokens of words it "
        "has seen, and empties that table when it is full.",
        "The first batch puts all sequences of the epoch in order; those after it read their own tokens alone.",
    )


def of_studies(studies: Studies) -> tuple[str, ...]:
    """The line through the studies' times."""
    return (
        _line(studies.line, 1, "s", "run"),
        "A run's first step compiles, or finds what was compiled before; all else in a run is its process, planning, "
        "building the model, validating and saving. The first run's share also has the imports that later ones are "
        "given ready-made.",
    )


def of_list(studies: Studies) -> tuple[str, ...]:
    """The line through the lists' times."""
    return (_line(studies.list_line, 1000, "ms", "run"),)


def _following(axis: Axis) -> str:
    """Runs of doublings in which time grows more slowly than the FLOPs, as they do, or faster."""
    values = axis.values
    steps = list(zip(values[:-1], values[1:], axis.time.steps, axis.flops.steps, strict=True))
    parts = []
    for how, group in groupby(steps, key=lambda step: _how(step[2], step[3])):
        members = list(group)
        powers = ", ".join(f"{power(time)} beside {power(flops)}" for _, _, time, flops in members)
        parts.append(f"from {members[0][0]} to {members[-1][1]} {how} ({powers})")
    return f"Time against the FLOPs, powers from size to size: {'; '.join(parts)}."


def _how(time: float, flops: float) -> str:
    if abs(time - flops) <= ALIKE:
        return "it grows as they do"
    return "it grows more slowly" if time < flops else "it grows faster"


def _line(line: Line, scale: float, unit: str, each: str) -> str:
    fixed, slope = number(scale * line.fixed), number(scale * line.each)
    return (
        f"The nearest line is {fixed} {unit} and {slope} {unit} a {each}; it misses by {_percent(line.worst)} at most."
    )


def _peaks(sizes: Sequence[int], packings: Sequence[Packing]) -> str:
    """Of all sizes, and what a megabyte of text adds between the last two, which fill every buffer."""
    first, last = (f"{packing.peak_bytes / 1e6:.0f}" for packing in (packings[0], packings[-1]))
    added = (packings[-1].peak_bytes - packings[-2].peak_bytes) / (sizes[-1] - sizes[-2])
    return f"{first} to {last} MB, between the last two {number(added)} MB for each MB of text"


def number(value: float) -> str:
    """Three digits, or as many as stand before the point."""
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", MINUS)


def power(value: float) -> str:
    """0.98 or −0.03."""
    return plain(value, 2)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
