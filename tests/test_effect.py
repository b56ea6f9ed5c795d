"""The effect size against hand-computed cases, scipy's noncentral t, and the t-interval it must agree with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from actbench.analysis.effect import effect_size, hedges_factor


def test_effect_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1; J(2) = Gamma(1) / (sqrt(1) Gamma(1/2)) = 1 / sqrt(pi)."""
    effect = effect_size([1.0, 2.0, 3.0], 0.95)
    assert effect is not None
    assert effect.d_z == pytest.approx(2 / math.sqrt(math.pi))


def test_the_factor_nears_the_usual_approximation() -> None:
    assert hedges_factor(50) == pytest.approx(1 - 3 / (4 * 50 - 1), abs=2e-5)


def test_the_correction_is_right_on_average() -> None:
    x = np.random.default_rng(0).normal(0.8, 1, (40_000, 5))
    plain = x.mean(1) / x.std(1, ddof=1)
    assert plain.mean() > 0.95
    assert hedges_factor(4) * plain.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("differences", [[1.0, 2.0], [0.3, 0.3, 0.3], [1.0, 1.0 + 1e-6, 1.0 - 1e-6]])
def test_no_effect_size_of_two_pairs_or_without_spread(differences: list[float]) -> None:
    assert effect_size(differences, 0.95) is None


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-100, 100), min_size=3, max_size=12), st.floats(0.01, 100))
def test_the_interval_inverts_the_noncentral_t_and_agrees_with_the_t_interval(values: list[int], scale: float) -> None:
    assume(len(set(values)) > 1)
    differences = [value * scale for value in values]
    effect, n = effect_size(differences, 0.95), len(values)
    assert effect is not None
    low, high = effect.interval
    test = stats.ttest_1samp(differences, 0.0)
    t, mean = test.statistic, test.confidence_interval(0.95)
    assert stats.nct.cdf(t, n - 1, low * math.sqrt(n)) == pytest.approx(0.975, abs=1e-4)
    assert stats.nct.cdf(t, n - 1, high * math.sqrt(n)) == pytest.approx(0.025, abs=1e-4)
    if min(abs(end) for end in (low, high)) > 1e-6:
        assert (low <= 0 <= high) == (mean.low <= 0 <= mean.high)
    mirrored = effect_size([-value for value in differences], 0.95)
    assert mirrored is not None and mirrored.interval == pytest.approx((-high, -low), abs=1e-6)
