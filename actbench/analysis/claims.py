"""The claim a study states before its runs, and what their differences say of it.

A claim is one-sided: in every model that it speaks of, the activation's result is lower (or higher) than the
baseline's by more than a margin. It is judged by the paired t-test of the difference against that margin, in
the place of the comparison's own test against zero, so Holm's correction counts it among all of the report's. The
number of pairs that a difference needs to be called one holds here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from scipy import stats

from actbench.analysis.comparisons import Comparison, Family
from actbench.analysis.multiple import holm
from actbench.analysis.paired import CONFIDENCE, ENOUGH_PAIRS, Difference
from actbench.config.section import NonNegativeFloat, Section
from actbench.errors import nearest

Verdict = Literal["supported", "not supported", "refuted", "cannot be judged"]

# What one model's finding means for the whole claim: the first that any has. A claim is about every model.
GRAVEST: tuple[Verdict, ...] = ("refuted", "not supported", "cannot be judged", "supported")


class Claim(Section):
    """What a study claims: `activation` against the baseline, in pre-training or on one `task`."""

    text: Annotated[str, Field(min_length=1)]
    activation: str  # a label as the report shows it, or the activation's name where only one label has it
    model: str | None = None  # the recipe's name; None: every model of the study
    task: str | None = None  # None: the validation loss after pre-training
    direction: Literal["lower", "higher"] | None = None  # None: lower for a loss, higher for a score
    margin: NonNegativeFloat = 0.0  # how large the difference must at least be, in nats or points

    @property
    def towards(self) -> Literal["lower", "higher"]:
        """The direction, with its default resolved."""
        return self.direction or ("lower" if self.task is None else "higher")


@dataclass(frozen=True)
class Finding:
    """What one model's runs say of the claim. `why` is the reason it cannot be judged, or empty.

    `p_value` is that of the paired t-test against the margin, after Holm's correction; None without a test.
    """

    model: str
    verdict: Verdict
    difference: Difference | None = None
    p_value: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Judgement:
    """The verdict over all models, and each one's finding."""

    verdict: Verdict
    findings: tuple[Finding, ...]


def judge(claim: Claim, family: Family) -> Judgement:
    """What the family's differences say of the claim. One that names what was not run cannot be judged."""
    kind = family.pretraining if claim.task is None else family.on_tasks
    spoken_of = [c for c in kind if c.cohort.task == claim.task and _is_of(claim.model, c)]
    if not spoken_of:
        return Judgement(
            "cannot be judged", (Finding(claim.model or "no model", "cannot be judged", why=_why(claim, kind)),)
        )
    corrected = _corrected(claim, spoken_of, family)
    groups = {id(c.cohort): [other for other in spoken_of if other.cohort is c.cohort] for c in spoken_of}
    findings = tuple(_finding(claim, group, family.baseline, corrected) for group in groups.values())
    found = {finding.verdict for finding in findings}
    return Judgement(next(verdict for verdict in GRAVEST if verdict in found), findings)


def _is_of(model: str | None, comparison: Comparison) -> bool:
    """Whether the comparison is of the model called so: by the report's name for it, or by a recipe's."""
    runs = (run for variant in comparison.cohort.variants for run in variant.runs.values())
    recipes = {str(run.info["recipe"]["name"]) for run in runs}
    return model is None or model == comparison.cohort.name or model in recipes


def _why(claim: Claim, kind: Sequence[Comparison]) -> str:
    """Why there is nothing the claim speaks of."""
    if not kind:
        return f"no finished run {'of pre-training' if claim.task is None else 'on any task'}"
    tasks = sorted({str(c.cohort.task) for c in kind})
    if claim.task is not None and claim.task not in tasks:
        return f"no finished run of the task '{claim.task}' ({nearest(claim.task, tasks)})"
    models = sorted({c.cohort.name for c in kind if c.cohort.task == claim.task})
    return f"no finished run of the model '{claim.model}' ({nearest(str(claim.model), models)})"


def _corrected(claim: Claim, spoken_of: Sequence[Comparison], family: Family) -> dict[int, float | None]:
    """By comparison: its p after Holm's correction, with the claimed ones tested against the margin."""
    claimed = {id(c) for c in spoken_of if c.cohort.called(claim.activation) is c.variant}
    plain = [
        None if c.difference is None else _p_against(claim, c.difference) if id(c) in claimed else c.difference.p_value
        for c in family.all
    ]
    return {id(c): p for c, p in zip(family.all, holm(plain), strict=True)}


def _finding(claim: Claim, group: Sequence[Comparison], baseline: str, corrected: dict[int, float | None]) -> Finding:
    cohort = group[0].cohort
    variant = cohort.called(claim.activation)
    if variant is None:
        return Finding(cohort.name, "cannot be judged", why=cohort.why_none_called(claim.activation))
    comparison = next(c for c in group if c.variant is variant)
    difference, p = comparison.difference, corrected[id(comparison)]
    if difference is None:
        why = "it is the baseline itself" if comparison.is_baseline else cohort.why_none_called(baseline)
        return Finding(cohort.name, "cannot be judged", why=why)
    if p is None or difference.n < ENOUGH_PAIRS:
        few = difference.caution or "too few seeds"
        return Finding(cohort.name, "cannot be judged", difference, p, few)
    if p > 1 - CONFIDENCE:
        return Finding(cohort.name, "not supported", difference, p)
    return Finding(cohort.name, "supported" if _excess(claim, difference) > 0 else "refuted", difference, p)


def _excess(claim: Claim, difference: Difference) -> float:
    """By how much the mean difference goes beyond the margin, in the claimed direction."""
    assert difference.mean is not None
    return (difference.mean if claim.towards == "higher" else -difference.mean) - claim.margin


def _p_against(claim: Claim, difference: Difference) -> float | None:
    """The two-sided p of the paired t-test against the margin; None where the differences have no interval."""
    if difference.sd is None:
        return None
    t = _excess(claim, difference) / difference.sd * math.sqrt(difference.n)
    return float(2 * stats.t.sf(abs(t), difference.n - 1))
