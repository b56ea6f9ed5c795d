"""How much sooner a variant is where its baseline ends: in tokens, seconds and FLOPs, paired by seed.

A run's curve is its smoothed loss against what was spent. It arrives at a loss where it falls to it for good: from
there on to its end it stays at or below. A speed-up is what the baseline had spent on its arrival where it ends, which
is all unless its loss rises at last, over what the variant had spent on arrival there; over seeds it is the geometric
mean, its interval that of the paired differences of logarithms. Of what came before the first logged loss nothing is
known, and nothing is made up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actbench.analysis.cohorts import Cohort, Variant, cohorts
from actbench.analysis.paired import Difference, paired_difference
from actbench.errors import BadInput, Problem
from actbench.store import Run

Array = NDArray[np.float64]
Spent = Literal["tokens", "seconds", "flops"]
Kind = Literal["validation", "train"]

SPENT: tuple[Spent, ...] = ("tokens", "seconds", "flops")
SMOOTHED = 1 / 20  # the share of its rows that a training loss is averaged over; a validation loss stays as it is


@dataclass(frozen=True)
class Arrival:
    """What was spent when a run fell to a loss; where not `exact` the most: it was there at its first logged one."""

    spent: float
    exact: bool = True


@dataclass(frozen=True)
class Curve:
    """A run's smoothed loss at what it had spent; both (N,), N at least 1."""

    spent: Array
    loss: Array

    def at(self, spent: float) -> float | None:
        """The loss there, between neighbours on a line; None before the first one and after the last."""
        if not self.spent[0] <= spent <= self.spent[-1]:
            return None
        return float(np.interp(spent, self.spent, self.loss))

    def arrival(self, loss: float) -> Arrival | None:
        """Where it fell to `loss` for good; None where it ends above it."""
        above = np.flatnonzero(self.loss > loss)
        if not len(above):
            return Arrival(float(self.spent[0]), exact=False)
        last = int(above[-1])
        if last == len(self.loss) - 1:
            return None
        high, low = self.loss[last], self.loss[last + 1]
        share = (high - loss) / (high - low)
        return Arrival(float(self.spent[last] + share * (self.spent[last + 1] - self.spent[last])))

    def needed(self) -> Arrival:
        """Where it fell to its own last loss for good: at its end, unless it rose there."""
        own = self.arrival(float(self.loss[-1]))
        assert own is not None
        return Arrival(own.spent, own.exact or own.spent == self.spent[-1])


@dataclass(frozen=True)
class Speedup:
    """A variant beside its baseline, by one kind of spending, over the seeds that both have.

    `difference` is that of the losses at the most that both runs of a pair spent; a pair of which one had logged no
    loss so early has no part in it. `arrivals` are by seed; None where a run did not arrive. `ratio` is the
    speed-up, where every arrival is known exactly. `at_most` stands where some never arrived, or the baseline's
    loss only rose: the largest ratio that is possible, had those arrived right after their end. `at_least` stands
    where some were there when their loss was first logged: the ratio had they come there just then. Where both
    happened there is neither.
    """

    cohort: Cohort
    variant: Variant
    baseline: Variant
    spent: Spent
    difference: Difference
    arrivals: Mapping[int, Arrival | None]
    ratio: float | None = None
    interval: tuple[float, float] | None = None  # the t-interval, 95 %
    bootstrap: tuple[float, float] | None = None  # the studentised one, from 6 pairs on
    at_most: float | None = None
    at_least: float | None = None
    caution: str = ""

    @property
    def seeds(self) -> int:
        """The pairs."""
        return len(self.arrivals)

    @property
    def arrived(self) -> int:
        """Of them, those in which the variant came down to the baseline's final loss."""
        return sum(arrival is not None for arrival in self.arrivals.values())

    @property
    def too_early(self) -> int:
        """Of them, those that `difference` leaves out: one run had logged no loss yet at equal cost."""
        return self.seeds - self.difference.n


def speedups(runs: Sequence[Run], baseline: str, kind: Kind = "validation") -> list[Speedup]:
    """Every variant beside its cohort's baseline, by tokens, seconds and FLOPs. Models that came ready are left out.

    Raises BadInput where no finished pre-training run has the baseline's activation, or nothing to set beside it.
    """
    finished = [run for run in runs if run.kind == "pretrain" and run.status == "finished" and not run.imported]
    found = cohorts(finished)
    if not found:
        raise BadInput(
            Problem("no finished pre-training run among these", hint="actbench runs list shows what there is")
        )
    named = [(cohort, cohort.called(baseline)) for cohort in found]
    if all(one is None for _, one in named):
        raise BadInput(Problem(found[0].why_none_called(baseline), where="--baseline"))
    made = [one for cohort, beside in named if beside for one in of_cohort(cohort, beside, kind)]
    if not made:
        raise BadInput(
            Problem(f"nothing to set beside {baseline}", hint="name runs that differ in the activation alone")
        )
    return made


def of_cohort(cohort: Cohort, baseline: Variant, kind: Kind = "validation") -> list[Speedup]:
    """The same of one cohort; variants without a seed of the baseline's are left out."""
    theirs = {seed: curves_of(run, kind) for (seed, _), run in baseline.runs.items()}
    found = []
    for variant in cohort.variants:
        ours = {seed: curves_of(run, kind) for (seed, _), run in variant.runs.items() if seed in theirs}
        if variant is not baseline and ours:
            found += [_speedup(cohort, variant, baseline, spent, ours, theirs) for spent in SPENT]
    return found


def curves_of(run: Run, kind: Kind = "validation") -> dict[Spent, Curve]:
    """The run's curves against all that it spent. Raises BadInput when it logged no such loss."""
    rows = [row for row in run.metrics() if row["kind"] == kind and math.isfinite(row["loss"])]
    if not rows:
        raise BadInput(Problem(f"run {run.id} logged no {kind} loss"))
    loss, tokens, seconds = (np.array([row[key] for row in rows], dtype=float) for key in ("loss", "tokens", "seconds"))
    loss = smoothed(loss) if kind == "train" else loss
    flops = tokens * float(run.info["model"]["flops_per_token"])
    return {"tokens": Curve(tokens, loss), "seconds": Curve(seconds, loss), "flops": Curve(flops, loss)}


def smoothed(loss: Array) -> Array:
    """A centred moving average; at the ends it averages what is there."""
    window = np.ones(2 * round(SMOOTHED * len(loss) / 2) + 1)
    if len(window) > len(loss):
        return loss
    return np.convolve(loss, window, mode="same") / np.convolve(np.ones_like(loss), window, mode="same")


def _speedup(
    cohort: Cohort,
    variant: Variant,
    baseline: Variant,
    spent: Spent,
    of_variant: Mapping[int, Mapping[Spent, Curve]],
    of_baseline: Mapping[int, Mapping[Spent, Curve]],
) -> Speedup:
    ours = {seed: curves[spent] for seed, curves in sorted(of_variant.items())}
    theirs = {seed: of_baseline[seed][spent] for seed in ours}
    arrivals = {seed: ours[seed].arrival(float(theirs[seed].loss[-1])) for seed in ours}
    own = {seed: curve.needed() for seed, curve in theirs.items()}
    one = Speedup(cohort, variant, baseline, spent, _at_equal_cost(ours, theirs), arrivals)
    logs = paired_difference(
        {seed: math.log(found.spent) for seed, found in own.items()},
        {seed: math.log(ours[seed].spent[-1] if found is None else found.spent) for seed, found in arrivals.items()},
    )
    ratio = math.exp(logs.mean or 0.0)
    never = one.arrived < one.seeds or not all(found.exact for found in own.values())
    already = any(found is not None and not found.exact for found in arrivals.values())
    if never and already:
        return one
    if never or already:
        return replace(one, at_most=ratio) if never else replace(one, at_least=ratio)
    interval, bootstrap = _exp(logs.interval), _exp(logs.bootstrap)
    return replace(one, ratio=ratio, interval=interval, bootstrap=bootstrap, caution=logs.caution)


def _at_equal_cost(ours: Mapping[int, Curve], theirs: Mapping[int, Curve]) -> Difference:
    """The difference of losses at the most that both of a pair spent, of the pairs that had one logged so early."""
    both = {seed: min(ours[seed].spent[-1], theirs[seed].spent[-1]) for seed in ours}
    found = {seed: (ours[seed].at(spent), theirs[seed].at(spent)) for seed, spent in both.items()}
    known = {seed: (our, their) for seed, (our, their) in found.items() if our is not None and their is not None}
    return paired_difference(
        {seed: our for seed, (our, _) in known.items()}, {seed: their for seed, (_, their) in known.items()}
    )


def _exp(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (math.exp(interval[0]), math.exp(interval[1]))
