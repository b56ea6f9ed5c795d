"""Choosing among runs: those that an expression matches, in an order, by any key they have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from actbench.errors import BadInput, Problem, nearest
from actbench.store.index import ALIASES, COLUMNS, Record, records
from actbench.store.query import NUMBER, Comparison, comparable, is_number, parse
from actbench.store.run import Run


def matching(found: Sequence[Record], expression: str) -> list[Record]:
    """The runs that match, in their order.

    Raises BadInput for an expression that cannot be read, a key that none has, and a word where all have numbers.
    """
    condition = parse(expression)
    compared = list(condition.comparisons())
    check_keys(((one.key, _place(one)) for one in compared), found)
    problems = [_no_number(one) for one in compared if one.needs_word() and _all_numbers(one.key, found)]
    if problems:
        raise BadInput(problems)
    return [record for record in found if condition.matches(record.value)]


def meant(found: Sequence[Record], expression: str) -> str:
    """A hint for an expression that no run matches: the word nearest to one that no run has, or nothing."""
    for one in parse(expression).comparisons():
        if one.operator == "=" and one.needs_word():
            words = {value for record in found if isinstance(value := record.value(one.key), str)}
            hint = nearest(str(one.text).lower(), sorted(words)) if one.text not in words else ""
            if hint.startswith("did"):
                return hint
    return ""


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


def _place(comparison: Comparison) -> str:
    return f"--where, column {comparison.column}"


def _all_numbers(key: str, found: Sequence[Record]) -> bool:
    """Whether some run has a value of the key, and all that have one a number."""
    present = (value for record in found if (value := record.value(key)) is not None)
    first = next(present, None)
    return is_number(first) and all(is_number(value) for value in present)


def _no_number(comparison: Comparison) -> Problem:
    key, text = comparison.key, str(comparison.text)
    hint = f"as in {key}{comparison.operator}{text if NUMBER.fullmatch(text) else 4}, without quotes"
    return Problem(f"'{key}' holds numbers, and '{text}' is none", _place(comparison), hint=hint)


def _unknown(key: str, found: Sequence[Record]) -> bool:
    return bool(found) and key not in (*COLUMNS, *ALIASES) and not any(record.knows(key) for record in found)


def _nearest(key: str, found: Sequence[Record]) -> str:
    known: dict[str, Any] = dict.fromkeys((*COLUMNS, *ALIASES))
    for record in found:
        known.update(dict.fromkeys(record.keys()))
    hint = nearest(key, list(known))
    return hint if hint.startswith("did") else f"columns: {', '.join(COLUMNS)}; or a key of the recipe or the results"
