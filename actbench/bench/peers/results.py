"""What the comparisons found: as a table, as a section of a Markdown page, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from actbench.bench import machine
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


@dataclass(frozen=True)
class Results:
    """The outcomes, what they were measured on, and what was left out or went wrong."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    outcomes: tuple[Outcome, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def command(self) -> str:
        """The word after `actbench bench`."""
        return "peers"

    def to_json(self) -> dict[str, Any]:
        """JSON data; benchmarks/README.md says what it means."""
        return {
            "benchmark": self.command,
            "machine": self.machine,
            "settings": self.settings,
            "comparisons": [outcome.to_json() for outcome in self.outcomes],
            "skipped": list(self.skipped),
            "failed": list(self.failed),
            "warnings": list(self.warnings),
        }

    def table(self) -> Table:
        """A row a comparison."""
        columns = tuple(Column(title, numeric=number > 1) for number, title in enumerate(COLUMNS))
        return Table(TITLE, columns, tuple(outcome.row() for outcome in self.outcomes), tuple(self.notes()))

    def notes(self) -> list[str]:
        """How to read the table, and what was left out."""
        notes = [READING]
        if any(outcome.ours.report.score is not None for outcome in self.outcomes):
            notes.append(SCORES)
        notes += [f"Left out: {reason}." for reason in self.skipped]
        notes += [f"Failed: {reason}" for reason in self.failed]
        return notes + [f"Warning: {warning}." for warning in self.warnings]

    def to_text(self, width: int) -> str:
        """For a terminal of that width."""
        return self.table().to_text(width)

    def to_markdown(self) -> str:
        """Where and how it was measured, and the table."""
        packages = ", ".join(f"{name} {version}" for name, version in self.machine["peers"].items())
        turns = f"{self.settings['rounds']} rounds, each side in a process of its own, in turn"
        how = f"{turns}; {packages or 'no peer is installed'}"
        return "\n".join([machine.sentence(self.machine, how), self.table().to_markdown()])


def _rounded(rate: float) -> str:
    """Three digits, or all before the point."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
