"""What the comparisons found: as a table, as a section of a Markdown page, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from actbench.bench.output import OneTable
from actbench.bench.peers.catalogue import Pair
from actbench.bench.peers.process import WARM_UP, Measured
from actbench.report.numbers import NOTHING
from actbench.report.table import Column, Row, Table

TITLE = "actbench beside its peers"
COLUMNS = ("comparison", "against", "times faster", "target", "rate", "loss", "score", "peak memory", "first step")
READING = (
    "Times faster: the median over rounds of the peer's time by actbench's of the same round [its quartiles]; ✗ where "
    "it is below the target. After it stand actbench's value / the peer's: what was done a second; the mean training "
    "loss over the last quarter of the steps (fine-tuning: of the last epoch), from the same weights, data and rates; "
    "the task's metric on its development set; the most memory that the process held; seconds from its start to the "
    "end of its first step."
)
SCORES = "The scores tell that both sides learn the same; after so few steps they are no result."


@dataclass(frozen=True)
class Outcome:
    """Both sides of a pair: rounds, steps of each side's turn in a round, and what a step does in the pair's unit."""

    pair: Pair
    rounds: int
    turn: int
    amount: float
    ours: Measured
    theirs: Measured

    @property
    def ratios(self) -> list[float]:
        """How many times faster actbench was in each round."""
        return [theirs / ours for ours, theirs in zip(self.ours.seconds, self.theirs.seconds, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        first, _, third = quantiles(self.ratios, n=4, method="inclusive")
        return first, third

    @property
    def met(self) -> bool:
        """Whether the median reaches the target."""
        return self.ratio >= self.pair.target

    def rate(self, side: Measured) -> float:
        """The pair's unit a second, by the median round."""
        return self.amount * self.turn / median(side.seconds)

    def summary(self) -> str:
        """5.31 [5.20, 5.44] ✗."""
        low, high = self.quartiles
        return f"{self.ratio:.2f} [{low:.2f}, {high:.2f}]{'' if self.met else ' ✗'}"

    def to_json(self) -> dict[str, Any]:
        """JSON data, unrounded."""
        return {
            "name": self.pair.name,
            "against": self.pair.peer,
            "ratio": self.ratio,
            "quartiles": list(self.quartiles),
            "target": self.pair.target,
            "met": self.met,
            "steps": WARM_UP + self.rounds * self.turn,
            "unit": self.pair.unit,
            "actbench": self._side(self.ours),
            "peer": self._side(self.theirs),
        }

    def _side(self, side: Measured) -> dict[str, Any]:
        return {
            "per_second": self.rate(side),
            "round_seconds": list(side.seconds),
            "first_step_seconds": side.first_step,
            "peak_memory_bytes": side.peak_bytes,
            "loss": side.report.loss,
            "score": side.report.score,
            "packed_tokens": side.report.tokens,
        }

    def row(self) -> Row:
        """The table's row."""
        gigabytes = self._both(lambda side: f"{side.peak_bytes / 1e9:.2f}")
        cells = (
            self.pair.name,
            self.pair.peer,
            self.summary(),
            f"{self.pair.target:g}",
            f"{self._both(lambda side: _rounded(self.rate(side)))} {self.pair.unit}/s",
            self._both(lambda side: _number(side.report.loss)),
            self._both(lambda side: _number(side.report.score)),
            f"{gigabytes} GB",
            f"{self._both(lambda side: f'{side.first_step:.0f}')} s",
        )
        return Row(cells, self.to_json(), ())

    def _both(self, shown: Callable[[Measured], str]) -> str:
        ours, theirs = shown(self.ours), shown(self.theirs)
        return NOTHING if ours == theirs == NOTHING else f"{ours} / {theirs}"


class Results(OneTable[Outcome]):
    """How both sides of each pair compare."""

    command = "peers"
    rows = "comparisons"

    def table(self) -> Table:
        """A row a comparison."""
        columns = tuple(Column(title, numeric=number > 1) for number, title in enumerate(COLUMNS))
        scored = any(outcome.ours.report.score is not None for outcome in self.outcomes)
        notes = (READING, *([SCORES] if scored else []), *self.notes())
        return Table(TITLE, columns, tuple(outcome.row() for outcome in self.outcomes), notes)

    def how(self) -> str:
        """Each side in a process, in turn, and which peers are there."""
        packages = ", ".join(f"{name} {version}" for name, version in self.machine["peers"].items())
        turns = f"{self.settings['rounds']} rounds, each side in a process of its own, in turn"
        return f"{turns}; {packages or 'no peer is installed'}"


def _rounded(rate: float) -> str:
    """Three digits, or all before the point."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
