"""Layer numbers as a recipe writes them: "8-11", "0,4-6", 3, or [0, 4, 5]. They count from 0."""

from __future__ import annotations

import re
from collections.abc import Iterable

Span = tuple[int, int]  # a first and a last layer

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def canonical(layers: object) -> str:
    """One way to write what may be written in several: "0,4-6" for [4, 6, 5, 0]. Raises ValueError for no layers."""
    if isinstance(layers, list):
        if not layers or not all(_is_layer(number) for number in layers):
            raise ValueError(f"a list of layers holds numbers from 0 on, not {layers}")
        return text([(number, number) for number in layers])
    if isinstance(layers, str) or _is_layer(layers):
        return text([_span(part.strip()) for part in str(layers).split(",")])
    raise ValueError(f"expected layers, as in 8-11 or 0,4-6, not {layers!r}")


def spans(layers: str) -> list[Span]:
    """The ranges of a canonical text, in order."""
    return [_span(part) for part in layers.split(",")]


def text(ranges: Iterable[Span]) -> str:
    """Ranges in order, those that touch joined: "0,4-6"."""
    joined: list[Span] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in joined)


def _span(part: str) -> Span:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise ValueError(f"'{part}' is not a layer or a range of layers, as in 8-11 or 0,4-6")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"the range {part} runs backwards")
    return first, last


def _is_layer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
