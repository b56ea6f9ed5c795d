"""How things grow: as tables, as a section of a Markdown page, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actbench.bench import machine
from actbench.bench.growth import tables
from actbench.bench.growth.axes import Axis
from actbench.bench.growth.studies import Studies
from actbench.bench.growth.texts import Texts
from actbench.report.table import Table, markdown


@dataclass(frozen=True)
class Results:
    """The parts that were measured, on what, and what went wrong."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    hardware: dict[str, Any]
    axes: tuple[Axis, ...]
    texts: Texts | None
    studies: Studies | None
    failed: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def command(self) -> str:
        """The word after `actbench bench`."""
        return "growth"

    def to_json(self) -> dict[str, Any]:
        """JSON data; benchmarks/README.md says what it means."""
        return {
            "benchmark": self.command,
            "machine": self.machine,
            "settings": self.settings,
            "hardware": self.hardware,
            "axes": [axis.to_json() for axis in self.axes],
            "text": self.texts.to_json() if self.texts else None,
            "studies": self.studies.to_json() if self.studies else None,
            "failed": list(self.failed),
            "warnings": list(self.warnings),
        }

    def tables(self) -> list[Table]:
        """In the order of reading."""
        found = [tables.exponents_table(self.axes)] if self.axes else []
        found += [tables.axis_table(axis) for axis in self.axes]
        if self.texts:
            found.append(tables.text_table(self.texts))
        if self.studies:
            found += [tables.study_table(self.studies), tables.list_table(self.studies)]
        return found

    def notes(self) -> list[str]:
        """What went wrong, and what makes the numbers less sure."""
        return [f"Failed: {reason}" for reason in self.failed] + [f"Warning: {text}." for text in self.warnings]

    def to_text(self, width: int) -> str:
        """For a terminal of that width."""
        notes = "".join(f"- {note}\n" for note in self.notes())
        return "\n".join([*(table.to_text(width) for table in self.tables()), notes])

    def to_markdown(self) -> str:
        """Where and how it was measured, and the tables."""
        compiled = "compiled" if self.hardware["compiled"] else "without a compiler"
        base = ", ".join(f"{name} {value}" for name, value in self.settings["base"].items())
        how = f"{self.hardware['precision']}, {compiled}; {self.settings['rounds']} rounds; base: {base}"
        notes = [f"- {markdown(note)}\n" for note in self.notes()]
        return "\n".join([machine.sentence(self.machine, how), *(t.to_markdown() for t in self.tables()), *notes])
