"""Results in files: JSON as a whole, Markdown as one section of a page that may hold more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from actbench.bench import machine
from actbench.errors import BadInput, Problem, nearest
from actbench.report.table import Table
from actbench.store.atomic import write_json, write_text

Outcome = TypeVar("Outcome")

FORMATS = (".md", ".json")


class Results(Protocol):
    """What a benchmark found."""

    @property
    def command(self) -> str:
        """Which of the benchmarks it is: the word after `actbench bench`."""
        ...

    @property
    def failed(self) -> tuple[str, ...]:
        """What could not be measured, and why."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    def to_markdown(self) -> str: ...

    def to_text(self, width: int) -> str: ...


@dataclass(frozen=True)
class OneTable(Generic[Outcome]):
    """Results with a row an outcome, what they were measured on, and what was left out or went wrong."""

    command: ClassVar[str]
    rows: ClassVar[str]  # what the rows are called in JSON

    machine: dict[str, Any]
    settings: dict[str, Any]
    outcomes: tuple[Outcome, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    warnings: tuple[str, ...]

    def table(self) -> Table:
        """The outcomes, how to read them, and `notes`."""
        raise NotImplementedError

    def how(self) -> str:
        """How often, and in what order."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """What was left out or went wrong, and what makes the numbers less sure."""
        notes = [f"Left out: {reason}." for reason in self.skipped]
        notes += [f"Failed: {reason}" for reason in self.failed]
        return notes + [f"Warning: {warning}." for warning in self.warnings]

    def to_json(self) -> dict[str, Any]:
        """JSON data; benchmarks/README.md says what it means."""
        return {
            "benchmark": self.command,
            "machine": self.machine,
            "settings": self.settings,
            self.rows: [row.values for row in self.table().rows],
            "skipped": list(self.skipped),
            "failed": list(self.failed),
            "warnings": list(self.warnings),
        }

    def to_text(self, width: int) -> str:
        """For a terminal of that width."""
        return self.table().to_text(width)

    def to_markdown(self) -> str:
        """Where and how it was measured, and the table."""
        return "\n".join([machine.sentence(self.machine, self.how()), self.table().to_markdown()])


def marks(command: str) -> tuple[str, str]:
    """The lines of a page between which the results of `actbench bench <command>` stand."""
    return f"<!-- actbench bench {command} -->", f"<!-- end of actbench bench {command} -->"


def check(paths: Sequence[Path], *commands: str) -> None:
    """Raises BadInput, before anything is measured, when one of the files cannot be written."""
    problems = []
    for path in paths:
        if path.suffix not in FORMATS:
            hint = nearest(path.suffix, FORMATS)
            problems.append(Problem(f"cannot write '{path.suffix}' files", str(path), hint=hint))
        elif not path.parent.is_dir():
            problems.append(Problem(f"no such folder: {path.parent}", str(path)))
        elif path.suffix == ".md" and path.exists():
            page = path.read_text(encoding="utf-8")
            for begin, end in (marks(command) for command in commands if _place(page, command) is None):
                hint = f"put the lines {begin} and {end} where the tables belong"
                problems.append(Problem("has no place for the results", str(path), hint=hint))
    if problems:
        raise BadInput(problems)


def write(results: Results, path: Path) -> None:
    """Writes the file; of a Markdown page, only what stands between the two marks is replaced, or it is added."""
    if path.suffix == ".json":
        write_json(path, results.to_json())
        return
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    if _place(page, results.command) is None:
        page += "\n".join([*marks(results.command), ""])
    place = _place(page, results.command)
    assert place is not None
    write_text(path, page[: place[0]] + "\n" + results.to_markdown() + page[place[1] :])


def _place(page: str, command: str) -> tuple[int, int] | None:
    """Where in the page the results stand: from the end of the first mark's line to the start of the second."""
    begin, end = marks(command)
    first, second = page.find(begin), page.find(end)
    return (first + len(begin) + 1, second) if 0 <= first < second else None
