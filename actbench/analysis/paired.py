"""Is a difference real? Paired statistics over seeds, as pure functions of numbers.

A pair shares its seed and differs in the activation alone, so what a seed does to both runs cancels in their
difference. The t-interval and the paired t-test take those differences as independent draws of one normal
law.

The interval is the t-interval, as it covers best at the numbers of seeds that are usual here: benchmarks/coverage.py
measures it beside three bootstrap intervals, docs/statistics.md shows the numbers. Percentile and BCa intervals
promise 95 % and hold 70 to 75 % of three seeds. The studentised bootstrap does better where differences are skewed;
it is given beside the t-interval from ENOUGH_PAIRS on. The permutation test assumes no law at all, only that under the
null the sign of each difference might as well be the other one.

Fine-tuned runs have two seeds. Runs that stem from one pre-training run share its luck and are not
independent: the independent unit is the pre-training seed. Runs are therefore matched by (pre-training seed,
fine-tuning seed), their differences averaged within each pre-training seed, and only these averages are
tested. Three fine-tunings of one pre-trained model count once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

import numpy as np
from scipy import stats

from actbench.analysis.effect import Effect, effect_size, no_spread

Seed = TypeVar("Seed", int, tuple[int, int])

ENOUGH_PAIRS = 6  # the fewest of which a permutation test can show anything at 5 %: 2 / 2**6 = 0.031
CONFIDENCE = 0.95
RESAMPLES = 9_999  # a permutation test is exact up to 13 pairs, 2**13 = 8192; above, so many signs are drawn
RANDOM_SEED = 0  # of all drawing: the same runs give the same numbers


@dataclass(frozen=True)
class Spread:
    """A mean over independent seeds; `sd` is the sample standard deviation (n - 1), None of one value."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Treatment minus baseline over `n` pairs, and how sure one may be of it.

    `mean` is None without a pair; whatever cannot be estimated is None: `interval` (the t-interval, 95 %) and
    `p_value` (the t-test's) below two pairs, `effect` below three, `bootstrap` (the studentised interval) below
    ENOUGH_PAIRS. `dropped` counts the runs of either side that had no partner. `caution` says in words why not to
    conclude, or is empty. `holm_p` is `p_value` adjusted for the family of comparisons that this one is reported in.
    """

    mean: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    n: int
    dropped: int
    caution: str
    sd: float | None = None  # of the paired differences
    permutation_p: float | None = None
    effect: Effect | None = None
    bootstrap: tuple[float, float] | None = None
    holm_p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside of it."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def is_shown(self) -> bool:
        """Whether the difference may be called real: enough pairs, and p after correction at most 5 %."""
        p = self.p_value if self.holm_p is None else self.holm_p
        return self.n >= ENOUGH_PAIRS and p is not None and p <= 1 - CONFIDENCE

    @property
    def least_permutation_p(self) -> float | None:
        """The smallest p that the permutation test could have given at this n; None without a pair."""
        return max(2 / 2**self.n, 2 / (RESAMPLES + 1)) if self.n else None


def spread(values: Iterable[float]) -> Spread:
    """Mean, standard deviation and count of independent values. Raises ValueError without any, or for NaN."""
    numbers = _finite(values)
    if not numbers:
        raise ValueError("the spread of no values is undefined")
    sd = stdev(numbers) if len(numbers) > 1 else None
    return Spread(fmean(numbers), sd, len(numbers))


def paired_difference(treatment: Mapping[Seed, float], baseline: Mapping[Seed, float]) -> Difference:
    """The difference of two activations whose runs are paired by seed, or by both of theirs: {seed: value} each.

    Seeds that only one side has are dropped and counted.
    """
    shared = sorted(treatment.keys() & baseline.keys())
    dropped = len(treatment.keys() ^ baseline.keys())
    return _difference([treatment[seed] - baseline[seed] for seed in shared], dropped)


def nested_difference(
    treatment: Mapping[tuple[int, int], float], baseline: Mapping[tuple[int, int], float]
) -> Difference:
    """The difference of fine-tuned runs: {(pre-training seed, fine-tuning seed): value} each.

    `n` counts pre-training seeds, the independent unit; `dropped` counts runs without a partner of both
    seeds.
    """
    shared = treatment.keys() & baseline.keys()
    dropped = len(treatment.keys() ^ baseline.keys())
    differences = mean_by_pretraining({key: treatment[key] - baseline[key] for key in shared})
    return _difference(list(differences.values()), dropped)


def mean_by_pretraining(values: Mapping[tuple[int, int], float]) -> dict[int, float]:
    """{(pre-training seed, fine-tuning seed): value} averaged to {pre-training seed: mean}, in order."""
    by_seed: dict[int, list[float]] = {}
    for (pretraining_seed, _), value in sorted(values.items()):
        by_seed.setdefault(pretraining_seed, []).append(value)
    return {seed: fmean(group) for seed, group in by_seed.items()}


def permutation_p(differences: Sequence[float]) -> float:
    """The two-sided p of the sign-flip test: how extreme the mean is among those of all 2**n choices of signs.

    Exact up to 13 pairs; above, RESAMPLES choices are drawn and the observed one counts among them.
    """
    values = np.asarray(differences)
    values = values / (np.abs(values).max() or 1.0)
    result = stats.permutation_test(
        (values,),
        lambda signed, axis: np.mean(signed, axis=axis).round(12),  # sums that are equal but for rounding are equal
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=RANDOM_SEED,
    )
    return float(result.pvalue)


def studentised_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The bootstrap-t interval of the mean (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, 12.5).

    As the t-interval, but the law of the t statistic comes from resamples and not from the normal law.
    """
    values = np.asarray(differences)
    n = len(values)
    drawn = values[np.random.default_rng(RANDOM_SEED).integers(0, n, (RESAMPLES, n))]
    error = values.std(ddof=1) / math.sqrt(n)
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    varied = errors > 0  # a resample of one value many times has no t
    t = (drawn.mean(1) - values.mean())[varied] / errors[varied]
    low, high = np.quantile(t, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(values.mean() - high * error), float(values.mean() - low * error)


def _difference(differences: list[float], dropped: int) -> Difference:
    values = _finite(differences)
    n = len(values)
    if n == 0:
        return Difference(None, None, None, 0, dropped, "no seed in common")
    mean = fmean(values)
    if n == 1:
        return Difference(mean, None, None, 1, dropped, "one seed: no interval")
    sd = stdev(values)
    if no_spread(mean, sd):  # equal up to rounding: a t-test would claim certainty
        return Difference(mean, None, None, n, dropped, "equal differences: no interval")
    test = stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(CONFIDENCE)
    return Difference(
        mean,
        (float(low), float(high)),
        float(test.pvalue),
        n,
        dropped,
        "too few seeds" if n < ENOUGH_PAIRS else "",
        sd=sd,
        permutation_p=permutation_p(values),
        effect=effect_size(values, CONFIDENCE),
        bootstrap=studentised_interval(values) if n >= ENOUGH_PAIRS else None,
    )


def _finite(values: Iterable[float]) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("statistics need finite numbers")
    return numbers
