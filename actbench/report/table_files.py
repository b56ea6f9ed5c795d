"""A table as a file of its own: LaTeX to set in a paper, CSV with the exact values to compute with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from actbench.errors import BadInput, Problem, nearest
from actbench.report.table import Table
from actbench.store.atomic import write_text
from actbench.store.index import flat

# What LaTeX reads as its own, and what fonts of pdfTeX lack.
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{GREEK SMALL LETTER TAU}": r"$\tau$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
}
TRANSLATION = str.maketrans(LATEX)


def write_tables(folder: Path, tables: Iterable[Table]) -> None:
    """Writes NAME.tex and NAME.csv of each table into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        write_text(folder / f"{table.name}.tex", to_latex(table))
        write_text(folder / f"{table.name}.csv", to_csv(table))


def table_text(path: Path) -> Callable[[Table], str]:
    """What turns a table into the text of the file that `path` names by its suffix. Raises BadInput for others."""
    writers = {".csv": to_csv, ".md": Table.to_markdown, ".tex": to_latex}
    if path.suffix in writers:
        return writers[path.suffix]
    hint = nearest(path.suffix, list(writers))
    raise BadInput(Problem(f"cannot write a table as '{path.suffix}'", where=str(path), hint=hint))


def to_latex(table: Table) -> str:
    """A floating table with the rules of booktabs, the only package it needs."""
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering\small",
        rf"  \caption{{{latex(table.title)}.}}",
        rf"  \label{{tab:{table.name}}}",
        rf"  \begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"    \toprule",
        _latex_row(column.title for column in table.columns),
        r"    \midrule",
        *(_latex_row(row.cells) for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(rf"  \par\smallskip\footnotesize {latex(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """Text that LaTeX sets as it is, on one line."""
    return " ".join(text.split()).translate(TRANSLATION)


def to_csv(table: Table) -> str:
    """A line a row, unrounded: nested values under dotted names, the runs they come from in the last column."""
    rows = [dict(_cells(row.values)) | {"runs": " ".join(row.runs)} for row in table.rows]
    keys = dict.fromkeys(key for row in rows for key in row if key != "runs")
    heads = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]  # None where others nest
    file = io.StringIO()
    writer = csv.DictWriter(file, [*heads, "runs"], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _latex_row(cells: Iterable[str]) -> str:
    # A bracket after a line's end would be read as that command's option.
    texts = [latex(cell) for cell in cells]
    return "    " + " & ".join("{" + text + "}" if text.startswith("[") else text for text in texts) + r" \\"


def _cells(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in flat(values):
        if "interval" in name.rpartition(".")[2]:
            low, high = value or (None, None)
            yield from ((f"{name}.low", low), (f"{name}.high", high))
        elif value != {}:
            yield name, json.dumps(value) if isinstance(value, list) else value
