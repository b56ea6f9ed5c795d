"""Numbers over several tasks: hand-computed cases, scipy's, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from actbench.analysis.tasks import (
    Array,
    expanded_confidence,
    interquartile_difference,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)

MATRICES = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).normal(70, 8, (4, 3)))


def noisy(seed: int, seeds: int = 7, tasks: int = 4) -> Array:
    """Scores of tasks of different height."""
    return np.random.default_rng(seed).normal(70, 2, (seeds, tasks)) + np.arange(tasks)


def test_iqm_by_hand() -> None:
    """The middle half of 1..8 is 3, 4, 5, 6, wherever they stand."""
    scores = np.array([[8.0, 1.0], [3.0, 4.0], [7.0, 2.0], [6.0, 5.0]])
    assert interquartile_mean(scores).value == pytest.approx(4.5)


def test_iqm_does_not_feel_an_outlier() -> None:
    scores = noisy(0)
    far = scores.copy()
    far[np.unravel_index(scores.argmax(), scores.shape)] = 1e6
    assert interquartile_mean(far).value == pytest.approx(interquartile_mean(scores).value)


@settings(deadline=None, max_examples=40)
@given(MATRICES, st.floats(0.1, 10), st.floats(-50, 50), st.randoms())
def test_iqm_follows_scale_and_shift_and_no_order(scores: Array, scale: float, shift: float, random: object) -> None:
    value = interquartile_mean(scores).value
    shuffled = scores.flatten()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert interquartile_mean(shuffled.reshape(scores.shape)).value == pytest.approx(value)
    assert interquartile_mean(scores * scale + shift).value == pytest.approx(value * scale + shift)
    assert scores.min() <= value <= scores.max()


def test_both_sides_draw_the_same_seeds() -> None:
    """What is one point better at every seed is one point better in every resample."""
    baseline = noisy(1)
    difference = interquartile_difference(baseline + 1, baseline)
    assert (difference.value, difference.interval) == (pytest.approx(1.0), pytest.approx((1.0, 1.0)))


def test_all_tasks_draw_the_same_seeds() -> None:
    """Where a seed is good on all tasks or on none, more tasks make nothing surer."""
    luck = np.random.default_rng(2).normal(70, 2, (8, 1))
    one, many = (interquartile_mean(np.repeat(luck, tasks, axis=1)).interval for tasks in (1, 12))
    assert one is not None and many is not None
    assert many[1] - many[0] > 0.9 * (one[1] - one[0])


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_few_seeds_have_no_interval(seeds: int) -> None:
    a, b = noisy(1, seeds), noisy(2, seeds)
    estimates = interquartile_mean(a), interquartile_difference(a, b), probability_of_improvement(a, b)
    assert [estimate.interval for estimate in estimates] == [None] * 3
    assert performance_profile(a, np.array([70.0])).band is None


def test_an_interval_holds_its_value_and_is_the_same_each_time() -> None:
    a, b = noisy(3), noisy(4)
    for estimate in (interquartile_mean(a), interquartile_difference(a, b), probability_of_improvement(a, b)):
        assert estimate.interval is not None and estimate.interval[0] < estimate.value < estimate.interval[1]
    assert interquartile_mean(a) == interquartile_mean(a.copy())


def test_the_expanded_interval_is_as_wide_as_students() -> None:
    """Of a mean of many values: quantiles of the resampled means reach as far as the t-interval."""
    x = np.random.default_rng(5).normal(70, 2, (12, 1))
    drawn = x[:, 0][np.random.default_rng(0).integers(0, 12, (40_000, 12))].mean(1)
    tail = (1 - expanded_confidence(12)) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    expected = stats.ttest_1samp(x[:, 0], 0.0).confidence_interval(0.95)
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.05)
    middles = stats.trim_mean(x[:, 0][np.random.default_rng(1).integers(0, 12, (40_000, 12))], 0.25, axis=1)
    assert interquartile_mean(x).interval == pytest.approx(np.quantile(middles, [tail, 1 - tail]), abs=0.06)
    assert interquartile_mean(x).interval != pytest.approx(np.quantile(middles, [0.025, 0.975]), abs=0.12)
    assert expanded_confidence(100_000) == pytest.approx(0.95, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(MATRICES, MATRICES)
def test_probability_of_improvement_is_mann_and_whitneys(treatment: Array, baseline: Array) -> None:
    """Of each run and those of the other side that have another seed; ties among them."""
    treatment, baseline = treatment.round(), baseline.round()
    others = [np.arange(len(treatment)) != seed for seed in range(len(treatment))]
    if len(treatment) == 1:
        others = [np.array([True])]
    u = [
        stats.mannwhitneyu([a], b[other]).statistic / other.sum()
        for a_of_task, b in zip(treatment.T, baseline.T, strict=True)
        for a, other in zip(a_of_task, others, strict=True)
    ]
    value = probability_of_improvement(treatment, baseline).value
    assert value == pytest.approx(np.mean(u))
    assert probability_of_improvement(baseline, treatment).value == pytest.approx(1 - value)
    assert probability_of_improvement(np.exp(treatment / 10), np.exp(baseline / 10)).value == pytest.approx(value)


def test_profile_by_hand() -> None:
    """Above 1 lie all four scores, above 2 two (3 and 4), above 3 one, above 4 none."""
    profile = performance_profile(np.array([[1.5, 3.0], [2.0, 4.0]]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert profile.share.tolist() == [1.0, 0.5, 0.25, 0.0]


def test_a_profile_falls_within_its_band() -> None:
    profile = performance_profile(noisy(6), np.linspace(60, 80, 30))
    assert profile.band is not None
    assert (profile.share[0], profile.share[-1]) == (1.0, 0.0) and np.all(np.diff(profile.share) <= 0)
    assert np.all(profile.band[0] <= profile.share + 1e-12) and np.all(profile.share <= profile.band[1] + 1e-12)
    assert np.max(profile.band[1] - profile.band[0]) > 0.1


def test_sides_of_other_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="same seeds and tasks"):
        interquartile_difference(noisy(1, 6), noisy(1, 7))
