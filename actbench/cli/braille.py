"""A curve drawn with Braille characters, each of two by four dots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a character, by column, then by row


def draw(points: Sequence[tuple[float, float]], columns: int, rows: int) -> list[str]:
    """The curve through the points (x, y), both axes dotted: `rows` + 1 lines, none longer than `columns`.

    The x ascend; every number is finite. The ends of both ranges stand at the left and below.
    """
    first, last = points[0][0], points[-1][0]
    low, high = min(0.0, *(y for _, y in points)), max(0.0, *(y for _, y in points))
    high = high if high > low else low + 1
    labels = [f"{high:.2g}", *[""] * (rows - 2), f"{low:.2g}"]
    margin = max(map(len, labels)) + 1
    width, height = 2 * max(4, columns - margin), 4 * rows

    def dot(x: float, y: float) -> tuple[int, int]:
        return round((x - first) / (last - first) * (width - 1)), round((high - y) / (high - low) * (height - 1))

    dots = {(i, dot(0, 0)[1]) for i in range(0, width, 4)} | {(dot(0, 0)[0], j) for j in range(0, height, 4)}
    for (i, j), (k, m) in pairwise(dot(x, y) for x, y in points):
        steps = max(1, abs(k - i), abs(m - j))
        dots |= {(round(i + (k - i) * s / steps), round(j + (m - j) * s / steps)) for s in range(steps + 1)}
    cells = [[0x2800] * (width // 2) for _ in range(rows)]
    for i, j in dots:
        if 0 <= i < width:  # where 0 lies off the range, so does the axis
            cells[j // 4][i // 2] |= DOTS[i % 2][j % 4]
    lines = [f"{label:>{margin - 1}} {''.join(map(chr, line))}" for label, line in zip(labels, cells, strict=True)]
    return [*lines, " " * margin + f"{first:g}" + f"{last:g}".rjust(width // 2 - len(f"{first:g}"))]
