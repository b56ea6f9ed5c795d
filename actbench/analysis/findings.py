"""What analyses found, side by side: their runs by variant, their numbers by layer, over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from actbench.analysis.cohorts import ANALYSIS, cohorts
from actbench.analysis.paired import Spread, spread
from actbench.errors import BadInput, Problem
from actbench.store import FINDINGS, Run

NAMES = ("rank", "similarity", "activity")

Place = tuple[str, ...]  # ("layers.0",), ("layers.0", "in")
Numbers = dict[str, float]


@dataclass(frozen=True)
class Findings:
    """One variant's analyses of one kind, one a seed; `name` tells the variant from those beside it.

    `label` tells it from those of the same `model` alone.
    """

    name: str
    model: str
    label: str
    activation: str
    analysis: str
    text: str | None
    results: tuple[dict[str, Any], ...]
    runs: tuple[str, ...]

    def each_seed(self) -> list[dict[Place, Numbers]]:
        """Every quantity by layer, and for the rank by matrix, of each seed's run."""
        return [PLACED[self.analysis](result) for result in self.results]

    def by_place(self) -> dict[Place, dict[str, Spread]]:
        """The same over seeds."""
        return _over_seeds(self.each_seed())

    def over_layers(self) -> dict[Place, dict[str, Spread]]:
        """The means over layers, over seeds: one place for all, or one a matrix."""
        return _over_seeds([_mean_over_layers(each) for each in self.each_seed()])


def analyses(runs: Iterable[Run]) -> list[tuple[str, str | None, list[Run]]]:
    """The finished analyses among runs: (analysis, text, the runs of both), in the order of NAMES, then of texts."""
    groups: dict[tuple[str, str | None], list[Run]] = {}
    for run in runs:
        if run.kind == ANALYSIS and run.status == "finished":
            key = (str(run.info["analysis"]["name"]), run.info["data"].get("text"))
            groups.setdefault(key, []).append(run)
    ordered = sorted(groups, key=lambda key: (NAMES.index(key[0]), key[1] or ""))
    return [(*key, groups[key]) for key in ordered]


def findings(runs: Sequence[Run]) -> list[Findings]:
    """The analysis runs by variant, in the order in which variants are reported; a newer run stands for its repeats."""
    found = cohorts(runs)
    return [
        Findings(
            f"{cohort.name}: {variant.label}" if len(found) > 1 else variant.label,
            cohort.name,
            variant.label,
            variant.first.activation,
            str(variant.first.info["analysis"]["name"]),
            variant.first.info["data"].get("text"),
            tuple(result_of(run) for run in variant.runs.values()),
            variant.ids,
        )
        for cohort in found
        for variant in cohort.variants
    ]


def result_of(run: Run) -> dict[str, Any]:
    """What an analysis found. Raises BadInput for a damaged file."""
    path = run.folder / FINDINGS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(Problem(f"damaged: {error}", where=str(path))) from None


def rank_history(run: Run) -> dict[int, dict[Place, Numbers]]:
    """A pre-training run's ranks by step, as it logged them with `logging.ranks`; empty where it did not."""
    return {row["step"]: _ranks(row) for row in run.metrics() if row["kind"] == "ranks"}


def _ranks(result: Mapping[str, Any]) -> dict[Place, Numbers]:
    return {
        (slot, matrix): dict(numbers) for slot, parts in result["slots"].items() for matrix, numbers in parts.items()
    }


def _similarities(result: Mapping[str, Any]) -> dict[Place, Numbers]:
    """Of each layer: the cosine of what it receives and what it gives on."""
    cosines = result["cosines"]
    return {(f"layers.{i}",): {"cosine": cosines[i][i + 1]} for i in range(len(cosines) - 1)}


def _activities(result: Mapping[str, Any]) -> dict[Place, Numbers]:
    found: dict[Place, Numbers] = {}
    for slot, facts in result["slots"].items():
        numbers = {key: facts[key] for key in ("dead_share", "weak_share", "zero_share")}
        for side in ("inputs", "outputs"):
            numbers |= {f"{side}_mean": facts[side]["mean"], f"{side}_sd": facts[side]["sd"]}
        norms = result["gradient_norms"].get(slot)
        if norms is not None:
            numbers |= {"gradient_norm": norms["block"], "feed_forward_gradient_norm": norms["feed_forward"]}
        found[(slot,)] = numbers
    return found


PLACED: dict[str, Callable[[Mapping[str, Any]], dict[Place, Numbers]]] = {
    "rank": _ranks,
    "similarity": _similarities,
    "activity": _activities,
}


def _mean_over_layers(by_place: Mapping[Place, Numbers]) -> dict[Place, Numbers]:
    groups: dict[Place, list[Numbers]] = {}
    for place, numbers in by_place.items():
        groups.setdefault(place[1:], []).append(numbers)
    return {
        place: {key: fmean(numbers[key] for numbers in group) for key in group[0]} for place, group in groups.items()
    }


def _over_seeds(each: Sequence[Mapping[Place, Numbers]]) -> dict[Place, dict[str, Spread]]:
    return {
        place: {key: spread(one[place][key] for one in each) for key in numbers} for place, numbers in each[0].items()
    }
