"""Every finished run beside its cohort's baseline, and what else a study compares, as one family of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from actbench.analysis.cohorts import ANALYSIS, TUNE, Cohort, Variant, cohorts, split_finished
from actbench.analysis.multiple import holm
from actbench.analysis.paired import (
    Difference,
    Spread,
    mean_by_pretraining,
    nested_difference,
    paired_difference,
    spread,
)
from actbench.analysis.task_numbers import task_number
from actbench.config.section import Section
from actbench.store import Run


class Stated(Section):
    """A comparison besides those to the baseline: two variants' labels, or activations that one label each has."""

    activation: str
    against: str


@dataclass(frozen=True)
class Comparison:
    """A cohort's variant beside the cohort's baseline; `difference` is None without one, and for itself.

    `against` is the label of the variant that it is set beside in the baseline's place, if it is. Pre-training is
    compared by validation loss, an evaluation on a text by loss. On a task, with fine-tuning, in a transfer or
    zero-shot, the headline score in percent is compared.
    """

    cohort: Cohort
    variant: Variant
    is_baseline: bool
    value: Spread
    difference: Difference | None
    against: str = ""

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs compared, of both sides where the other is not the baseline."""
        other = self.cohort.called(self.against) if self.against else None
        return (*self.variant.ids, *(other.ids if other else ()))


@dataclass(frozen=True)
class Family:
    """All comparisons to the variants called `baseline`, and those stated, their p-values adjusted together.

    `stated` has, with each of the study's own comparisons, its cohorts' where both sides were run.
    """

    baseline: str
    pretraining: tuple[Comparison, ...]
    finetuning: tuple[Comparison, ...]
    evaluation: tuple[Comparison, ...]
    zero_shot: tuple[Comparison, ...]
    unfinished: tuple[Run, ...]
    transfer: tuple[Comparison, ...] = ()
    chosen: tuple[str, ...] = ()  # settings of a grid, that the selection set decided
    stated: tuple[tuple[Stated, tuple[Comparison, ...]], ...] = ()

    @property
    def all(self) -> tuple[Comparison, ...]:
        """Pre-training, fine-tuning, transfer, evaluation on texts, and zero-shot tasks; then those stated."""
        to_baseline = self.pretraining + self.finetuning + self.transfer + self.evaluation + self.zero_shot
        return to_baseline + tuple(comparison for _, found in self.stated for comparison in found)

    @property
    def on_tasks(self) -> tuple[Comparison, ...]:
        """Of scores on tasks, with fine-tuning, then without."""
        return self.finetuning + self.transfer + self.zero_shot

    @property
    def searched(self) -> bool:
        """Whether the selection set chose among several points of a grid anywhere."""
        return any(choice.points > 1 for one in self.finetuning for choice in one.variant.choices.values())

    @property
    def tested(self) -> int:
        """How many differences have a p-value."""
        return sum(c.difference is not None and c.difference.p_value is not None for c in self.all)


def compare(runs: Sequence[Run], baseline: str, chosen: Sequence[str] = (), stated: Sequence[Stated] = ()) -> Family:
    """Compares within cohorts, by cohort, the baseline first. Runs that are not finished only are listed.

    `chosen` are the fine-tuning settings of a grid, see `cohorts`. Analyses have no result to compare, and are left
    out.
    """
    finished, unfinished = split_finished([run for run in runs if run.kind != ANALYSIS])
    within = [cohort for cohort in cohorts(finished, chosen) if not cohort.is_import]
    found = [
        _compare(cohort, variant, cohort.called(baseline))
        for cohort in within
        for variant in sorted(cohort.variants, key=lambda v: (v is not cohort.called(baseline), v.label))
    ]
    besides = [(one, [c for cohort in within if (c := _stated(cohort, one, baseline)) is not None]) for one in stated]
    adjusted = iter(_adjusted([*found, *(comparison for _, own in besides for comparison in own)]))
    found = [next(adjusted) for _ in found]
    return Family(
        baseline,
        tuple(comparison for comparison in found if comparison.cohort.is_pretraining),
        tuple(c for c in found if c.cohort.task is not None and c.variant.first.kind == "finetune"),
        tuple(comparison for comparison in found if comparison.cohort.text is not None),
        tuple(comparison for comparison in found if comparison.cohort.is_zero_shot),
        tuple(unfinished),
        tuple(comparison for comparison in found if comparison.cohort.is_transfer),
        tuple(chosen),
        tuple((one, tuple(next(adjusted) for _ in own)) for one, own in besides),
    )


def losses(variant: Variant) -> dict[int, float]:
    """A pre-trained variant's validation losses by seed; an evaluated one's losses."""
    return {seed: _loss(run.summary) for (seed, _), run in variant.runs.items()}


def scores(variant: Variant) -> dict[tuple[int, int], float]:
    """A variant's headline scores on a task in percent, by pre-training and fine-tuning seed."""
    return {key: 100 * float(run.summary["headline"]["value"]) for key, run in variant.runs.items()}


def task_numbers(variant: Variant) -> dict[tuple[int, int], float]:
    """What each run counts with in a mean over tasks, in percent, by its seeds: see `task_number`."""
    return {key: 100 * task_number(run.summary) for key, run in variant.runs.items()}


def _loss(summary: dict[str, Any]) -> float:
    return float(summary["validation_loss" if "validation_loss" in summary else "loss"])


def _compare(cohort: Cohort, variant: Variant, baseline: Variant | None) -> Comparison:
    is_baseline = variant is baseline
    partner = None if is_baseline else baseline
    if cohort.task is None:
        own = losses(variant)
        difference = paired_difference(own, losses(partner)) if partner else None
        return Comparison(cohort, variant, is_baseline, spread(own.values()), difference)
    tuned = scores(variant)
    difference = nested_difference(tuned, scores(partner)) if partner else None
    return Comparison(cohort, variant, is_baseline, spread(mean_by_pretraining(tuned).values()), difference)


def _stated(cohort: Cohort, stated: Stated, baseline: str) -> Comparison | None:
    """None in a cohort that has not both, and where one of them is the baseline: that is compared already."""
    variant, partner = (_exactly(cohort, name) for name in (stated.activation, stated.against))
    if variant is None or partner is None or variant is partner or cohort.called(baseline) in (variant, partner):
        return None
    return replace(_compare(cohort, variant, partner), against=partner.label)


def _exactly(cohort: Cohort, name: str) -> Variant | None:
    """The variant called so. A label with a tuning mode means the tuned model alone; a baseline's, both."""
    found = cohort.called(name)
    return None if found is None or (f"{TUNE}=" in name and found.label != name) else found


def _adjusted(found: list[Comparison]) -> list[Comparison]:
    adjusted = holm([c.difference.p_value if c.difference else None for c in found])
    return [
        replace(c, difference=replace(c.difference, holm_p=p)) if c.difference else c
        for c, p in zip(found, adjusted, strict=True)
    ]
