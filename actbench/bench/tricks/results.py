"""What the tricks buy: as a table, as a section of a Markdown page, as JSON."""

from __future__ import annotations

from typing import Any

from actbench.bench.alternate import Comparison
from actbench.bench.output import OneTable
from actbench.bench.tricks.measure import Outcome
from actbench.report.numbers import NOTHING
from actbench.report.table import Column, Row, Table

COLUMNS = ("trick", "what", "instead", "model", "step with it", "time without", "memory without", "loss without")
READING = (
    "Without a trick a step takes so many times the time: the median over rounds of the time without by the time with "
    "it of the same round [its quartiles]; above 1 the trick pays. Memory likewise: the peak of tensors above what was "
    "held before the step; of a whole process where it says so."
)
LOSSES = (
    "Loss without: the largest relative difference between the losses of all steps with and without the trick, from "
    f"the same weights on the same batch; {NOTHING} where dropout's masks differ. A name in brackets is the activation "
    "or the dropout of both sides where they are not gelu and 0.1."
)


def summary(comparison: Comparison) -> str:
    """1.08 [1.05, 1.11]: the median time ratio and its quartiles."""
    low, high = comparison.time_quartiles
    return f"{comparison.time_ratio:.2f} [{low:.2f}, {high:.2f}]"


class Results(OneTable[Outcome]):
    """What each trick buys in each model."""

    command = "tricks"
    rows = "tricks"

    def table(self) -> Table:
        """A row a trick and model."""
        s = self.settings
        compiled = "compiled" if s["hardware"]["compiled"] else "without a compiler"
        size = (
            f"{s['layers']} layers of width {s['width']}, {s['batch']} tokens, {s['hardware']['precision']}, {compiled}"
        )
        columns = tuple(Column(title, numeric=number > 3) for number, title in enumerate(COLUMNS))
        rows = tuple(_row(outcome) for outcome in self.outcomes)
        notes = (READING, LOSSES, *self.notes())
        return Table(f"A training step without each of its tricks: {size}", columns, rows, notes)

    def how(self) -> str:
        """With and without in turn."""
        return f"{self.settings['rounds']} rounds, with and without in turn"


def _row(outcome: Outcome) -> Row:
    c, trick = outcome.comparison, outcome.trick
    cells = (
        trick.label,
        trick.what,
        trick.instead,
        outcome.family,
        f"{c.baseline_milliseconds:,.0f} ms",
        summary(c),
        f"{c.memory_ratio:.2f}{' process' if outcome.memory == 'process' else ''}",
        _difference(outcome.loss_difference),
    )
    return Row(cells, _json(outcome), ())


def _difference(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.0e}" if value else "the same"


def _json(outcome: Outcome) -> dict[str, Any]:
    """Unrounded. Times are medians over the rounds."""
    c, trick = outcome.comparison, outcome.trick
    return {
        "name": trick.name,
        "what": trick.what,
        "instead": trick.instead,
        "model": outcome.family,
        "dropout": trick.dropout,
        "activation": trick.activation,
        "milliseconds": c.baseline_milliseconds,
        "milliseconds_without": c.milliseconds,
        "time_ratio": c.time_ratio,
        "time_quartiles": list(c.time_quartiles),
        "memory": outcome.memory,
        "memory_bytes": c.baseline_memory_bytes,
        "memory_bytes_without": c.memory_bytes,
        "memory_ratio": c.memory_ratio,
        "loss_difference": outcome.loss_difference,
        "tolerance": trick.tolerance,
    }
