"""One pre-trained model an activation: how sure the scores of these very models are, over fine-tuning seeds.

RAFT (Fang et al. 2023) reports scores so: one pre-training each, mean and deviation over five fine-tunings. That says
how far another fine-tuning of the same weights may lie, and nothing of another pre-training. So it is in no test (see
analysis/paired.py), and given only where there is no second pre-training to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from actbench.analysis.cohorts import SeedKey, Variant
from actbench.analysis.comparisons import Comparison, Family, scores, task_numbers
from actbench.analysis.paired import Difference, Spread, paired_difference, spread


@dataclass(frozen=True)
class Within:
    """One pre-trained model's score in percent over its fine-tuning seeds, and the baseline's, paired by these.

    `difference` is None of the baseline and without one. Of several tasks, the score is their mean, and `first` the
    comparison on the first of them.
    """

    first: Comparison
    tasks: tuple[str, ...]
    value: Spread
    difference: Difference | None
    runs: tuple[str, ...]


def within(family: Family) -> list[Within]:
    """Model by model each task, then all tasks together: where all runs share a pre-training seed, and one has two."""
    found: list[Within] = []
    for model in dict.fromkeys(comparison.cohort.name for comparison in family.finetuning):
        own = [comparison for comparison in family.finetuning if comparison.cohort.name == model]
        runs = [key for comparison in own for key in comparison.variant.runs]
        if len({seed for seed, _ in runs}) == 1 and any(len(comparison.variant.runs) > 1 for comparison in own):
            found += [_of_task(comparison, family.baseline) for comparison in own]
            found += _over_tasks(own, family.baseline)
    return found


def _of_task(comparison: Comparison, baseline: str) -> Within:
    partner = _partner(comparison, baseline)
    theirs = None if partner is None else _by_seed(scores(partner))
    return _within([comparison], _by_seed(scores(comparison.variant)), theirs)


def _over_tasks(comparisons: Sequence[Comparison], baseline: str) -> list[Within]:
    """Of every activation that has a fine-tuning seed with all tasks, of two or more."""
    every = dict.fromkeys(comparison.cohort.task for comparison in comparisons)
    by_label: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_label.setdefault(comparison.variant.label, []).append(comparison)
    found = []
    for group in by_label.values():
        partners = [_partner(comparison, baseline) for comparison in group]
        own = _means([comparison.variant for comparison in group])
        if len(group) == len(every) > 1 and own:
            theirs = [partner for partner in partners if partner is not None]
            found.append(_within(group, own, _means(theirs) if len(theirs) == len(group) else None))
    return found


def _within(group: Sequence[Comparison], own: Mapping[int, float], theirs: Mapping[int, float] | None) -> Within:
    return Within(
        group[0],
        tuple(str(comparison.cohort.task) for comparison in group),
        spread(own.values()),
        None if theirs is None else paired_difference(own, theirs),
        tuple(run for comparison in group for run in comparison.variant.ids),
    )


def _partner(comparison: Comparison, baseline: str) -> Variant | None:
    return None if comparison.is_baseline else comparison.cohort.called(baseline)


def _means(variants: Sequence[Variant]) -> dict[int, float]:
    """The mean over tasks, a variant each, at the fine-tuning seeds that all have."""
    each = [_by_seed(task_numbers(variant)) for variant in variants]
    shared = set.intersection(*(set(numbers) for numbers in each)) if each else set()
    return {seed: fmean(numbers[seed] for numbers in each) for seed in sorted(shared)}


def _by_seed(values: Mapping[SeedKey, float]) -> dict[int, float]:
    """By fine-tuning seed, of one pre-training."""
    return {seed: value for (_, seed), value in values.items()}
