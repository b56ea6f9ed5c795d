"""Is a difference real? Paired statistics over seeds, as pure functions of numbers.

A pair shares its seed and differs in the activation alone, so what a seed does to both runs cancels in their
difference. The t-interval and the paired t-test take those differences as independent draws of one normal
law.

Fine-tuned runs have two seeds. Runs that stem from one pre-training run share its luck and are not
independent: the independent unit is the pre-training seed. Runs are therefore matched by (pre-training seed,
fine-tuning seed), their differences averaged within each pre-training seed, and only these averages are
tested. Three fine-tunings of one pre-trained model count once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

ENOUGH_PAIRS = 5  # below this a t-interval leans on a normality that nothing in the data can check
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """A mean over independent seeds; `sd` is the sample standard deviation (n - 1), None of one value."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Treatment minus baseline over `n` pairs, and how sure one may be of it.

    `mean` is None without a pair; `interval` (95 %) and `p_value` are None where they cannot be estimated.
    `dropped` counts the runs of either side that had no partner. `caution` says in words why not to conclude,
    or is empty.
    """

    mean: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    n: int
    dropped: int
    caution: str

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside of it."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def spread(values: Iterable[float]) -> Spread:
    """Mean, standard deviation and count of independent values. Raises ValueError without any, or for NaN."""
    numbers = _finite(values)
    if not numbers:
        raise ValueError("the spread of no values is undefined")
    sd = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return Spread(fmean(numbers), sd, len(numbers))


def paired_difference(treatment: Mapping[int, float], baseline: Mapping[int, float]) -> Difference:
    """The difference of two activations whose runs are paired by seed: {seed: value} each.

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


def _difference(differences: list[float], dropped: int) -> Difference:
    numbers = _finite(differences)
    n = len(numbers)
    if n == 0:
        return Difference(None, None, None, 0, dropped, "no seed in common")
    mean = fmean(numbers)
    if n == 1:
        return Difference(mean, None, None, 1, dropped, "one seed: no interval")
    error = float(np.std(numbers, ddof=1)) / math.sqrt(n)
    if error <= 1e-12 * abs(mean):  # equal up to rounding: a t-test would claim certainty
        return Difference(mean, None, None, n, dropped, "equal differences: no interval")
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    caution = "too few seeds" if n < ENOUGH_PAIRS else ""
    return Difference(mean, (mean - half, mean + half), p_value, n, dropped, caution)


def _finite(values: Iterable[float]) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("statistics need finite numbers")
    return numbers
