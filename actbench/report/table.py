"""A table that every output shares: the terminal, Markdown, the HTML page and JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds numbers (which stand at the right)."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """Cells as a reader sees them, the same as unrounded values, and the ids of the runs they come from."""

    cells: tuple[str, ...]
    values: dict[str, Any]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows under columns. Cells and notes are plain text: each output escapes them in its own way.

    `name` is what files that hold this table alone are called.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    name: str = ""

    def to_text(self, width: int = 120) -> str:
        """The table for a terminal, without colours."""
        import io

        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=Text(self.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in self.columns:
            table.add_column(Text(column.title), justify="right" if column.numeric else "left")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row.cells))
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(table)
        for note in self.notes:
            console.print(Text(f"- {note}"))
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in printed.splitlines()) + "\n"

    def to_markdown(self) -> str:
        """The table as GitHub's Markdown, notes beneath it."""
        lines = [
            _markdown_row(column.title for column in self.columns),
            _markdown_row(("---:" if column.numeric else "---" for column in self.columns), escape=False),
            *(_markdown_row(row.cells) for row in self.rows),
        ]
        notes = [f"- {markdown(note)}" for note in self.notes]
        return "\n".join([f"**{markdown(self.title)}**", "", *lines, *([""] if notes else []), *notes]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON data: unrounded values a row, with the runs they come from."""
        return {
            "title": self.title,
            "rows": [{**row.values, "runs": list(row.runs)} for row in self.rows],
            "notes": list(self.notes),
        }


def columns(*titles: str, numeric: bool = False) -> tuple[Column, ...]:
    """Columns of one kind, by their headings."""
    return tuple(Column(title, numeric) for title in titles)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", " ".join(text.split()))


def _markdown_row(cells: Any, escape: bool = True) -> str:
    return "| " + " | ".join(markdown(cell) if escape else cell for cell in cells) + " |"
