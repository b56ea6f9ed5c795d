"""How large a paired difference is beside its own spread over seeds: the effect size d_z.

d_z = mean / sd of the paired differences. At one mean it grows as the seed matters less to the difference: 1 says that
the mean is one standard deviation away from zero, so that about 84 % of single pairs would show its sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy import optimize, special, stats

LARGEST_T = 1e4  # of larger ones scipy's noncentral t is not to be had


@dataclass(frozen=True)
class Effect:
    """d_z with Hedges' correction, and its interval at the confidence asked for."""

    d_z: float
    interval: tuple[float, float]


def effect_size(differences: Sequence[float], confidence: float) -> Effect | None:
    """The effect size of paired differences; None below three of them, or with next to no spread.

    The plain ratio is too large on average; Hedges' factor J(n - 1) corrects it (Hedges 1981, *Distribution theory
    for Glass's estimator of effect size*, eq. 6e). At n = 2 the factor is zero: the ratio has no mean to correct.
    The interval inverts the noncentral t distribution (Cumming & Finch 2001, *A primer on the understanding, use, and
    calculation of confidence intervals that are based on central and noncentral distributions*). It is exact for
    normal differences, takes no correction, and excludes zero where the t-interval of the mean does.
    """
    n = len(differences)
    if n < 3:
        return None
    mean, sd = fmean(differences), stdev(differences)
    if no_spread(mean, sd) or abs(t := mean / sd * math.sqrt(n)) > LARGEST_T:
        return None
    low, high = _noncentrality(t, n - 1, confidence)
    return Effect(hedges_factor(n - 1) * mean / sd, (low / math.sqrt(n), high / math.sqrt(n)))


def hedges_factor(degrees: int) -> float:
    """J(degrees of freedom): what makes the ratio of mean and sd right on average."""
    logarithm = special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2)
    return math.exp(float(logarithm)) / math.sqrt(degrees / 2)


def no_spread(mean: float, sd: float) -> bool:
    """Whether differences are equal but for rounding. Statistics of such would claim certainty."""
    return sd <= 1e-12 * abs(mean)


def _noncentrality(t: float, degrees: int, confidence: float) -> tuple[float, float]:
    """The noncentralities under which `t` or less (or more) has the probability of one tail."""
    tail = (1 - confidence) / 2
    least, most = float(stats.norm.ppf(tail)) - 1, 10 + 3 * abs(t)

    def solve(probability: float) -> float:
        def excess(center: float) -> float:  # scipy: NaN in places where the probability is next to 0
            return float(np.nan_to_num(stats.nct.cdf(abs(t), degrees, center))) - probability

        return float(optimize.brentq(excess, least, most))

    low, high = solve(1 - tail), solve(tail)
    return (low, high) if t >= 0 else (-high, -low)
