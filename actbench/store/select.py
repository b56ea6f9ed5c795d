"""Choosing among runs: those that an expression matches, in an order, by any key they have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from actbench.errors import BadInput, Problem, nearest
from actbench.store.index import ALIASES, COLUMNS, Record, records
from actbench.store.query import comparable, parse
from actbench.store.run import Run


def matching(found: Sequence[Record], expression: str) -> list[Record]:
    """The runs that match, in their order. Raises BadInput for an expression that cannot be read or a key none has."""
    condition = parse(expression)
    check_keys(((key, f"--where, column {column}") for key, column in condition.places()), found)
    return [record for record in found if condition.matches(record.value)]


def runs_matching(root: Path, expression: str) -> tuple[list[Run], dict[str, str]]:
    """The runs under `root` that match, by name, and for those that cannot be read, why. Raises as `matching`."""
    found, damaged = records(root)
    return [Run(record.folder) for record in matching(found, expression)], damaged


def ordered(found: Sequence[Record], key: str, *, descending: bool = False) -> list[Record]:
    """The runs by a key's value, numbers before words, equals as they stood; those without it come last either way."""
    check_keys([(key, "--sort")], found)
    values = [(comparable(record.value(key)), record) for record in found]
    present = [(value, record) for value, record in values if value is not None]
    present.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=descending)
    return [record for _, record in present] + [record for value, record in values if value is None]


def check_keys(keys: Iterable[tuple[str, str]], found: Sequence[Record]) -> None:
    """Raises BadInput for each (key, where it was given) that is no column and that no run mentions, with the nearest.

    Where there are no runs, nothing is known of keys, and none is refused.
    """
    problems = [
        Problem(f"no run has a key '{key}'", where, hint=_nearest(key, found))
        for key, where in keys
        if _unknown(key, found)
    ]
    if problems:
        raise BadInput(problems)


def _unknown(key: str, found: Sequence[Record]) -> bool:
    return bool(found) and key not in (*COLUMNS, *ALIASES) and not any(record.knows(key) for record in found)


def _nearest(key: str, found: Sequence[Record]) -> str:
    known: dict[str, Any] = dict.fromkeys((*COLUMNS, *ALIASES))
    for record in found:
        known.update(dict.fromkeys(record.keys()))
    hint = nearest(key, list(known))
    return hint if hint.startswith("did") else f"columns: {', '.join(COLUMNS)}; or a key of the recipe or the results"
