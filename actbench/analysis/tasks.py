"""One number over several tasks, after Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the
Statistical Precipice* (arXiv:2108.13264): interquartile mean, probability of improvement, performance profile.

S seeds, T tasks: scores are (S, T), a row a pre-training seed, fine-tunings of one seed and task averaged before.

All intervals are bootstrap intervals over seeds, stratified by task: each resample has as many scores of every task as
there are. Where the paper draws each task's runs by themselves, one draw of seeds serves all tasks and both sides here:
the tasks' scores stem from the same pre-trained models, and the two sides of a pair share seeds. The interval is the
expanded percentile interval (Hesterberg 2015, *What Teachers Should Know About the Bootstrap*): quantiles so far
out that it would be as wide as a t-interval, for the plain one is too narrow. Below ENOUGH_PAIRS seeds even this holds
less than it promises, and none is given; benchmarks/coverage.py measures both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from actbench.analysis.paired import CONFIDENCE, ENOUGH_PAIRS, RANDOM_SEED, RESAMPLES

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; the interval is None below ENOUGH_PAIRS seeds."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Profile:
    """The share of scores above each threshold, and its 95 % band at each; None below ENOUGH_PAIRS seeds."""

    thresholds: Array
    share: Array
    band: tuple[Array, Array] | None


def interquartile_mean(scores: Array) -> Estimate:
    """The mean of the middle half of all scores: hardly moved by outliers, and steadier than the median."""
    return _estimate(lambda drawn: _iqm(scores[drawn]), len(scores))


def interquartile_difference(treatment: Array, baseline: Array) -> Estimate:
    """Treatment's interquartile mean minus that of the baseline over the same seeds and tasks, (S, T) each."""
    _same_shape(treatment, baseline)
    return _estimate(lambda drawn: _iqm(treatment[drawn]) - _iqm(baseline[drawn]), len(treatment))


def probability_of_improvement(treatment: Array, baseline: Array) -> Estimate:
    """How often a run of the treatment beats one of the baseline, on a task drawn at random; (S, T) each.

    Every run of a task is set against every one of the other side that has another seed; a tie counts half. Runs of one
    seed share their luck, so that which of them is better is decided by less, and more surely, than of two runs at
    random. It says nothing of how large the improvement is. A single seed has no other: its two runs are compared.
    """
    _same_shape(treatment, baseline)
    better = 0.5 + 0.5 * np.sign(treatment[:, None] - baseline[None])  # (S, S, T)
    wins = better.mean(2)

    def among(drawn: NDArray[np.intp]) -> Array:
        first, second = drawn[..., :, None], drawn[..., None, :]
        apart = (first != second) | (drawn == drawn[..., :1]).all(-1)[..., None, None]
        return np.asarray((wins[first, second] * apart).sum((-2, -1)) / apart.sum((-2, -1)))

    return _estimate(among, len(treatment))


def performance_profile(scores: Array, thresholds: Array) -> Profile:
    """For every threshold the share of (S, T) scores that lie above it: which curve is higher is better there."""
    above = (scores[:, :, None] > thresholds).mean(1)  # (S, thresholds)
    share = above.mean(0)
    if len(scores) < ENOUGH_PAIRS:
        return Profile(thresholds, share, None)
    return Profile(thresholds, share, _bootstrap(above, np.mean))


def _iqm(scores: Array) -> Array:
    """(..., S, T) to (...)."""
    return np.asarray(stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1))


def _estimate(statistic: Callable[[NDArray[np.intp]], Array], seeds: int) -> Estimate:
    """`statistic` maps indices of seeds (..., S) to (...)."""
    every = np.arange(seeds)
    value = float(statistic(every))
    if seeds < ENOUGH_PAIRS:
        return Estimate(value, None)
    low, high = _bootstrap(every, lambda drawn, axis: statistic(drawn.astype(np.intp)), axis=-1)
    return Estimate(value, (float(low), float(high)))


def _bootstrap(sample: NDArray[Any], statistic: Callable[..., Array], axis: int = 0) -> tuple[Array, Array]:
    """The ends of the interval over resamples along `axis`."""
    found = stats.bootstrap(
        (sample,),
        statistic,
        axis=axis,
        vectorized=True,
        method="percentile",
        confidence_level=expanded_confidence(sample.shape[axis]),
        n_resamples=RESAMPLES,
        batch=1000,
        rng=RANDOM_SEED,
    ).confidence_interval
    return found.low, found.high


def expanded_confidence(n: int) -> float:
    """The confidence that a percentile interval over n seeds must ask for to be as wide as one of Student's t."""
    quantile = math.sqrt(n / (n - 1)) * float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    return 1 - 2 * float(stats.norm.sf(quantile))


def _same_shape(treatment: Array, baseline: Array) -> None:
    if treatment.shape != baseline.shape:
        raise ValueError(f"both sides need the same seeds and tasks, not {treatment.shape} and {baseline.shape}")
