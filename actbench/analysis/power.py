"""How many seeds a difference needs, from the spread that was measured: the power of the paired t-test.

The power is that of the noncentral t distribution (Cohen 1988, *Statistical Power Analysis for the Behavioral
Sciences*, ch. 2): exact for normal differences. The measured standard deviation is itself uncertain, and with few
seeds very much so; its own interval, by the chi-squared distribution, is carried through to the number of seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from actbench.analysis.paired import ENOUGH_PAIRS

LEVEL = 0.05  # of the two-sided test
CONFIDENCE = 0.95  # of what the measured spread allows
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Needed:
    """How many seeds to see a difference; `low` and `high` are for the ends of the spread's interval.

    At least ENOUGH_PAIRS, since of fewer nothing is concluded, whatever the t-test says. None stands for more than
    MOST_SEEDS.
    """

    seeds: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Visible:
    """The smallest difference that a number of seeds shows; `low` and `high` are for the ends of the spread's."""

    difference: float
    low: float
    high: float


def power(difference: float, sd: float, n: int) -> float:
    """The probability that the two-sided paired t-test over n seeds finds a true `difference` at LEVEL.

    `sd` is the standard deviation of the paired differences. Raises ValueError below two seeds or for sd <= 0.
    """
    if n < 2 or not sd > 0:
        raise ValueError("power needs two seeds and a positive standard deviation")
    critical = float(stats.t.isf(LEVEL / 2, n - 1))
    center = abs(difference) / sd * math.sqrt(n)
    other_tail = np.nan_to_num(stats.nct.cdf(-critical, n - 1, center))  # scipy: NaN in places where it is next to 0
    return float(stats.nct.sf(critical, n - 1, center) + other_tail)


def seeds_needed(difference: float, sd: float, n: int, wanted: float = 0.8) -> Needed:
    """How many seeds see `difference` with the power `wanted`, when `sd` was measured over `n` paired differences."""
    low, high = sd_interval(sd, n)
    return Needed(*(_fewest(difference, value, wanted) for value in (sd, low, high)))


def smallest_visible(sd: float, n: int, seeds: int, wanted: float = 0.8) -> Visible:
    """The smallest difference that `seeds` see with the power `wanted`, when `sd` was measured over `n`."""
    if not LEVEL < wanted < 1:
        raise ValueError(f"the power must lie between {LEVEL} and 1")
    found = optimize.brentq(lambda ratio: power(ratio, 1.0, seeds) - wanted, 0.0, 1000.0)
    return Visible(*(float(found) * value for value in (sd, *sd_interval(sd, n))))


def sd_interval(sd: float, n: int) -> tuple[float, float]:
    """Where the true standard deviation may lie when n normal values gave `sd`."""
    if n < 2:
        raise ValueError("a standard deviation needs two values")
    tail = (1 - CONFIDENCE) / 2
    least, most = (sd * math.sqrt((n - 1) / float(stats.chi2.ppf(q, n - 1))) for q in (1 - tail, tail))
    return least, most


def _fewest(difference: float, sd: float, wanted: float) -> int | None:
    """The smallest n of power `wanted` or more, of those that are enough, by bisection: power grows with n."""
    if power(difference, sd, MOST_SEEDS) < wanted:
        return None
    enough, few = MOST_SEEDS, ENOUGH_PAIRS - 1
    while enough - few > 1:
        middle = (enough + few) // 2
        enough, few = (middle, few) if power(difference, sd, middle) >= wanted else (enough, middle)
    return enough
