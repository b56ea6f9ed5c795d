"""How an analysis answers: its figures and a table as files, and on stdout the table or one JSON object."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli.common import print_json, say

if TYPE_CHECKING:
    from actbench.report.table import Table

TableOption = Annotated[
    Path | None, typer.Option("--table", metavar="FILE", help="Write the table as a .csv, .md or .tex file too.")
]
WIDE = 1000  # on a pipe nothing is cut or folded

Writer = Callable[["Table"], None]


def table_writer(path: Path | None) -> Writer:
    """What writes a table to `path`, or does nothing without one. Raises BadInput for a suffix that it cannot write."""
    if path is None:
        return lambda table: None
    from actbench.report.table_files import table_text

    text = table_text(path)

    def write(table: Table) -> None:
        from actbench.store.atomic import write_text

        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text(table))
        say(f"wrote {path}")

    return write


def beside(path: Path, what: str) -> Path:
    """FILE-what: where a second figure or table goes."""
    return path.with_name(f"{path.stem}-{what}{path.suffix}")


def show(
    tables: Sequence[Table],
    figures: Sequence[Path],
    write: Writer,
    as_json: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes the first table to its file, says which figures there are, and prints the tables or all as JSON."""
    for figure in figures:
        say(f"wrote {figure}")
    write(tables[0])
    if as_json:
        print_json(
            {"output": [str(figure) for figure in figures], "tables": [t.to_json() for t in tables], **(more or {})}
        )
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    print("\n".join(table.to_text(width) for table in tables), end="")
