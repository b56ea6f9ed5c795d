"""Comparisons of one pre-trained model each, over fine-tuning seeds alone.

RAFT (Fang et al. 2023) compares so: one pre-training each, and ten fine-tunings of it in low data. What comes out holds
for these very weights and says nothing of another pre-training. So it is in no test (see analysis/paired.py), and is
given only of models that were fine-tuned from one pre-training seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from actbench.analysis.comparisons import Comparison, Family, scores
from actbench.analysis.over_tasks import OverTasks, over_tasks
from actbench.analysis.paired import paired_difference, spread


def one_pretraining(family: Family) -> tuple[list[Comparison], list[OverTasks]]:
    """Comparisons on tasks, tuned and transferred, with those stated; then a model's tuned tasks together.

    Values are over fine-tuning seeds, and differences paired by them.
    """
    compared = [*family.finetuning, *family.transfer, *(one for _, found in family.stated for one in found)]
    alone = list(_alone(one for one in compared if one.cohort.is_tuned))
    to_baseline = [one for one in alone if not (one.cohort.is_transfer or one.against)]
    return [_anew(one, family.baseline) for one in alone], over_tasks(to_baseline, unit=dict)


def _alone(comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Those of models with one pre-training seed, and two runs of it on some task."""
    by_model: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_model.setdefault(comparison.cohort.name, []).append(comparison)
    for own in by_model.values():
        keys = [list(variant.runs) for comparison in own for variant in comparison.cohort.variants]
        if len({seed for of_variant in keys for seed, _ in of_variant}) == 1 and max(map(len, keys)) > 1:
            yield from own


def _anew(comparison: Comparison, baseline: str) -> Comparison:
    own = scores(comparison.variant)
    partner = None if comparison.is_baseline else comparison.cohort.called(comparison.against or baseline)
    difference = None if partner is None else paired_difference(own, scores(partner))
    return replace(comparison, value=spread(own.values()), difference=difference)
