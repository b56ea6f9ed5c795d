"""What a benchmark found: as tables, as a section of a Markdown page, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from actbench.bench import machine
from actbench.bench.activations.cells import FUNCTION_LIMITS, STEP_LIMITS, Cell
from actbench.bench.activations.request import MODES, place
from actbench.report.numbers import NOTHING
from actbench.report.table import Column, Row, Table, markdown

READING = (
    "Each entry: the median over rounds of the time ratio [its quartiles], then the ratio of peak memory, forward and "
    "backward."
)
CROSS = (
    f"✗: above the target for activations that learn: compiled {FUNCTION_LIMITS['compiled'].time}x the time and "
    f"{FUNCTION_LIMITS['compiled'].memory}x the memory, eager {FUNCTION_LIMITS['eager'].time:g}x the time, a compiled "
    f"step {STEP_LIMITS['compiled'].time}x both."
)
GATED = "A gated activation reads two inputs and gives two gradients; GELU has one of each, so no target applies."


def _where(cell: Cell) -> str:
    return f"{cell.dtype} {cell.size}"


def _which_step(cell: Cell) -> str:
    sequences, length = cell.shape
    return f"{cell.kind.split()[0].upper()}, {cell.dtype}, {sequences} x {length} tokens"


# The end of a cell's kind, its table's title, and what heads the columns.
SECTIONS = (
    ("function", "Activations alone, {mode}, as ratios to GELU", _where),
    ("peer", "The same functions as others write them, {mode}, as ratios to actbench's", _where),
    ("step", "A whole training step, {mode}, as ratios to the step with GELU", _which_step),
)


@dataclass(frozen=True)
class Results:
    """The cells, what they were measured on, and what was left out or went wrong."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    cells: tuple[Cell, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def command(self) -> str:
        """The words after `actbench bench`: of the place for its mode, if it has one mode."""
        return " and ".join(map(place, self.settings["modes"]))

    def to_json(self) -> dict[str, Any]:
        """JSON data; benchmarks/README.md says what it means."""
        return {
            "benchmark": "activations",
            "machine": self.machine,
            "settings": self.settings,
            "cells": [cell.to_json() for cell in self.cells],
            "skipped": list(self.skipped),
            "failed": list(self.failed),
            "warnings": list(self.warnings),
        }

    def by_mode(self) -> list[Results]:
        """What was found in each mode, where there is something."""
        parts = []
        for mode in MODES:
            cells = tuple(cell for cell in self.cells if cell.mode == mode)
            if cells:
                parts.append(replace(self, cells=cells, settings={**self.settings, "modes": [mode]}))
        return parts

    def tables(self) -> list[Table]:
        """Activations alone, then peers, then whole steps; a table a mode."""
        tables = []
        for kind, title, column in SECTIONS:
            for mode in MODES:
                cells = [cell for cell in self.cells if cell.kind.endswith(kind) and cell.mode == mode]
                if cells:
                    tables.append(_table(title.format(mode=mode), cells, column))
        return tables

    def notes(self) -> list[str]:
        """How to read the tables, and what was left out."""
        notes = [READING, CROSS]
        if any(cell.gated for cell in self.cells):
            notes.append(GATED)
        notes += [f"Left out: {reason}." for reason in self.skipped]
        notes += [f"Failed: {reason}" for reason in self.failed]
        return notes + [f"Warning: {warning}." for warning in self.warnings]

    def to_text(self, width: int) -> str:
        """The tables for a terminal of that width, and how to read them."""
        notes = "".join(f"- {note}\n" for note in self.notes())
        return "\n".join([*(table.to_text(width) for table in self.tables()), notes])

    def to_markdown(self) -> str:
        """Where and how it was measured, the tables, and how to read them."""
        head = machine.sentence(self.machine, f"{self.settings['rounds']} rounds, both sides in turn")
        tables = [table.to_markdown() for table in self.tables()]
        return "\n".join([head, *tables, *(f"- {markdown(note)}" for note in self.notes())]) + "\n"


def _label(cell: Cell) -> str:
    if cell.kind == "peer":
        return f"{cell.name} / {cell.against}"
    return f"{cell.name} (gated)" if cell.gated else cell.name


def _table(title: str, cells: list[Cell], column: Callable[[Cell], str]) -> Table:
    """A row a candidate, a column a place; first the baselines' own times."""
    columns = list(dict.fromkeys(map(column, cells)))
    rows = []
    for against in dict.fromkeys(cell.against for cell in cells):
        times = {
            c: median(x.comparison.baseline_milliseconds for x in cells if (x.against, column(x)) == (against, c))
            for c in {column(cell) for cell in cells if cell.against == against}
        }
        rows.append(_row(f"{against}, its time", columns, {c: f"{time:.3g} ms" for c, time in times.items()}))
    for label in dict.fromkeys(map(_label, cells)):
        rows.append(_row(label, columns, {column(cell): cell.summary() for cell in cells if _label(cell) == label}))
    return Table(title, (Column(""), *(Column(c, numeric=True) for c in columns)), tuple(rows))


def _row(label: str, columns: list[str], cells: dict[str, str]) -> Row:
    return Row((label, *(cells.get(c, NOTHING) for c in columns)), {}, ())
