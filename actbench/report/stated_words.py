"""When a study's claim and comparisons were stated, in words: beside the claim if in time, else among the caveats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from actbench.analysis.statements import Change, Statement, changes
from actbench.report.numbers import join


def in_time(statements: Sequence[Statement]) -> str:
    """Since when the claim is as it is, if all was said of it before any run was finished; else, or unknown, empty."""
    of_claim = [change for change in changes(statements) if {"claim", "baseline"} & {*change.parts}]
    if not of_claim or any(change.statement.finished for change in of_claim):
        return ""
    day = of_claim[-1].statement.time.astimezone(UTC).date()
    return f"Stated on {day}, before the first run was finished."


def too_late(statements: Sequence[Statement]) -> list[str]:
    """A sentence for each change after which runs were not all still to come."""
    return list(dict.fromkeys(_late(change) for change in changes(statements) if change.statement.finished))


def _late(change: Change) -> str:
    n = change.statement.finished
    what = join([f"the {part}" for part in change.parts])
    be = "was" if len(change.parts) == 1 and change.parts[0] != "comparisons" else "were"
    runs = f"{n} of the study's runs {'was' if n == 1 else 'were'} finished"
    return f"{what.capitalize()} {be} {change.how} after {runs}."
