"""Results in files: JSON as a whole, Markdown as one section of a page that may hold more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actbench.bench.results import Results
from actbench.errors import BadInput, Problem, nearest
from actbench.store.atomic import write_json, write_text

BEGIN, END = "<!-- actbench bench activations -->", "<!-- end of actbench bench activations -->"
FORMATS = (".md", ".json")


def check(paths: Sequence[Path]) -> None:
    """Raises BadInput, before anything is measured, when one of the files cannot be written."""
    problems = []
    for path in paths:
        if path.suffix not in FORMATS:
            hint = nearest(path.suffix, FORMATS)
            problems.append(Problem(f"cannot write '{path.suffix}' files", str(path), hint=hint))
        elif not path.parent.is_dir():
            problems.append(Problem(f"no such folder: {path.parent}", str(path)))
        elif path.suffix == ".md" and path.exists() and _place(path.read_text(encoding="utf-8")) is None:
            hint = f"put the lines {BEGIN} and {END} where the tables belong"
            problems.append(Problem("has no place for the results", str(path), hint=hint))
    if problems:
        raise BadInput(problems)


def write(results: Results, path: Path) -> None:
    """Writes the file; of a Markdown page that is there, only what stands between the two marks is replaced."""
    if path.suffix == ".json":
        write_json(path, results.to_json())
        return
    page = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    place = _place(page)
    assert place is not None
    write_text(path, page[: place[0]] + "\n" + results.to_markdown() + page[place[1] :])


def _place(page: str) -> tuple[int, int] | None:
    """Where in the page the results stand: from the end of the first mark's line to the start of the second."""
    first, second = page.find(BEGIN), page.find(END)
    return (first + len(BEGIN) + 1, second) if 0 <= first < second else None
