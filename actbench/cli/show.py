"""Facts and tables on a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def print_facts(facts: Mapping[str, Any], title: str = "") -> None:
    """A name and a value a line."""
    from rich.console import Console  # here, because a table needs none of it
    from rich.table import Table

    table = Table(title=title or None, box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), readable(name, value))
    Console(soft_wrap=False).print(table)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table. A terminal gets what of each line it has room for; a pipe or a file gets all."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["─" * width for width in widths])
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for cells in lines:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        print(line if room is None or len(line) <= room else f"{line[: room - 1]}…")


def readable(name: str, value: Any) -> str:
    """A number as a person writes it: bytes in MiB, counts with separators, others to four decimals or three digits."""
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**20:,.0f} MiB"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {readable(str(key), inner)}" for key, inner in value.items())
    return str(value)
