"""Settings that were chosen: of fine-tunings that differ in them, the best on the selection set stands for all.

The rule: for each pre-trained run, task and tuning mode, of a grid's points with the most fine-tuning seeds (of those
that have other seeds, the lowest) that with the best mean score on the selection set; of equal ones that with the
smaller values, axis by axis. What a run reached on the test set is never looked at. So nothing is chosen where that set
is the one that chose the epoch: under protocol official.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from actbench.config.finetuning import OF_COEFFICIENTS
from actbench.config.tuning import FULL, moves
from actbench.store import Run


@dataclass(frozen=True)
class Point:
    """One combination of settings, by axis, the mean score on the selection set, and its runs, newest last.

    Axes that make no difference are left out: those of coefficients where none learn.
    """

    values: dict[str, float | None]
    selection: float
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """The fine-tuning seeds it was tried with, in order."""
        return sorted({run.info["finetune_seed"] for run in self.runs})

    @property
    def words(self) -> str:
        """The values, as in "lr=0.0001 activation_lr=0.005"."""
        return " ".join(f"{axis}={value:g}" for axis, value in self.values.items() if value is not None)

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        selection = self.selection if math.isfinite(self.selection) else None
        return {**self.values, "selection": selection, "seeds": len(self.seeds), "runs": [run.id for run in self.runs]}


@dataclass(frozen=True)
class Choice:
    """What was tried with one pre-trained run on one task in one mode, and what was chosen."""

    chosen: Point
    others: tuple[Point, ...]

    @property
    def points(self) -> int:
        """How many were tried."""
        return 1 + len(self.others)

    @property
    def kept(self) -> set[str]:
        """The ids of the chosen point's runs."""
        return {run.id for run in self.chosen.runs}

    @property
    def left(self) -> tuple[Run, ...]:
        """The runs of the other points."""
        return tuple(run for point in self.others for run in point.runs)

    def facts(self) -> list[dict[str, Any]]:
        """JSON data: the points by rank, the chosen one first."""
        return [point.facts() for point in (self.chosen, *self.others)]


def choose(runs: Sequence[Run], axes: Sequence[str]) -> Choice:
    """Chooses among finished fine-tunings of one pre-trained run on one task in one mode."""
    by_values: dict[tuple[float | None, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.info["created"], run.id)):
        by_values.setdefault(tuple(_values(run, axes).values()), []).append(run)
    found = [Point(_values(own[0], axes), _selection(own), tuple(own)) for own in by_values.values()]
    chosen, *others = sorted(found, key=_rank)
    return Choice(chosen, tuple(others))


def coefficients_learn(run: Run) -> bool:
    """Whether a fine-tuned run moved coefficients of its activations."""
    mode = run.info.get("finetune", {}).get("tune", FULL)
    return run.info["model"].get("activation_parameters") != 0 and "activation" in moves(mode)


def _values(run: Run, axes: Sequence[str]) -> dict[str, float | None]:
    settings, learn = run.info["finetune"], coefficients_learn(run)
    return {axis: settings.get(axis) for axis in axes if learn or axis not in OF_COEFFICIENTS}


def _selection(runs: Sequence[Run]) -> float:
    """The mean over seeds, of each the newest run; minus infinity where one has no score."""
    newest = {run.info["finetune_seed"]: run.summary.get("selection") for run in runs}
    scores = [score for score in newest.values() if score is not None]
    return fmean(scores) if len(scores) == len(newest) else -math.inf


def _rank(point: Point) -> tuple[Any, ...]:
    return (
        -len(point.seeds),
        point.seeds,
        -point.selection,
        [-math.inf if v is None else v for v in point.values.values()],
    )
