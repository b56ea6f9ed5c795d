"""`stated.json` in a study's folder: what its file claimed and compared whenever its runs began, oldest first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from actbench.analysis.statements import Statement
from actbench.config.section import Section
from actbench.errors import BadInput, Problem
from actbench.store.atomic import write_json
from actbench.study.file import Study
from actbench.study.graph import Graph

FILE = "stated.json"


class _Kept(Section):
    statements: Annotated[tuple[Statement, ...], Field(min_length=1)]


def record(graph: Graph) -> None:
    """Writes down what the study states, with the time and how many of its runs are finished. What stands there stays.

    A study that has never stated anything gets no file. Raises BadInput where the file is damaged.
    """
    kept = _kept(graph.folder)
    if not kept and graph.study.claim is None and not graph.study.comparisons:
        return
    now = _with(kept, graph.study, len(graph.finished()))
    if now != kept:
        graph.folder.mkdir(parents=True, exist_ok=True)
        write_json(graph.folder / FILE, _Kept(statements=now).model_dump(mode="json"))


def statements(graph: Graph, finished: int) -> tuple[Statement, ...]:
    """What was recorded and, where the study's file says something else now, that too. None where there is no record.

    `finished` is how many of its runs are. Raises BadInput where the record is damaged.
    """
    kept = _kept(graph.folder)
    return _with(kept, graph.study, finished) if kept else ()


def _with(kept: tuple[Statement, ...], study: Study, finished: int) -> tuple[Statement, ...]:
    """The statements and, unless the last one says the same, what the study states now."""
    now = Statement(
        time=datetime.now(UTC).replace(microsecond=0),
        finished=finished,
        baseline=study.baseline,
        claim=study.claim,
        comparisons=study.comparisons,
    )
    return kept if kept and kept[-1].asks() == now.asks() else (*kept, now)


def _kept(folder: Path) -> tuple[Statement, ...]:
    path = folder / FILE
    try:
        return _Kept.model_validate_json(path.read_bytes()).statements
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        hint = "bring it back, or remove it: the claim then counts as stated when 'study run' begins next"
        raise BadInput(Problem(f"damaged: {why}", where=str(path), hint=hint)) from None
