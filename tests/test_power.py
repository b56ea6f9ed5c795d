"""How many seeds: against published numbers, simulation, and its own inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.analysis.power import MOST_SEEDS, power, sd_interval, seeds_needed, smallest_visible


@pytest.mark.parametrize(("d_z", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_for_cohens_small_medium_and_large_effect(d_z: float, seeds: int) -> None:
    """What G*Power gives for a two-sided paired t-test at 5 % and a power of 80 %."""
    assert seeds_needed(d_z, 1.0, 20).seeds == seeds


def test_power_is_how_often_the_test_finds_it() -> None:
    x = np.random.default_rng(0).normal(0.9, 1.0, (20_000, 6))
    found = np.mean(stats.ttest_1samp(x, 0.0, axis=1).pvalue <= 0.05)
    assert power(0.9, 1.0, 6) == pytest.approx(found, abs=0.01)


def test_power_without_a_difference_is_the_tests_level() -> None:
    assert [power(0.0, 2.0, n) for n in (2, 5, 50)] == pytest.approx([0.05] * 3)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.05, 20), st.floats(0.01, 3), st.integers(2, 30), st.floats(0.1, 0.99))
def test_the_number_needed_is_the_first_that_suffices(difference: float, sd: float, n: int, wanted: float) -> None:
    needed = seeds_needed(difference, sd, n, wanted)
    assert needed == seeds_needed(-difference, sd, n, wanted)
    if needed.seeds is not None:
        assert power(difference, sd, needed.seeds) >= wanted
        assert needed.seeds == ENOUGH_PAIRS or power(difference, sd, needed.seeds - 1) < wanted
    low, middle, high = (MOST_SEEDS + 1 if x is None else x for x in (needed.low, needed.seeds, needed.high))
    assert low <= middle <= high


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 200), st.floats(0.06, 0.99))
def test_the_smallest_visible_difference_has_the_power_asked_for(seeds: int, wanted: float) -> None:
    visible = smallest_visible(0.02, 5, seeds, wanted)
    assert power(visible.difference, 0.02, seeds) == pytest.approx(wanted, abs=1e-6)
    assert visible.low < visible.difference < visible.high


def test_the_spreads_interval_by_hand() -> None:
    """n = 3: chi-squared quantiles with 2 degrees of freedom are -2 ln(1 - p)."""
    low, high = sd_interval(1.0, 3)
    assert low == pytest.approx(math.sqrt(2 / (-2 * math.log(0.025))))
    assert high == pytest.approx(math.sqrt(2 / (-2 * math.log(0.975))))


def test_the_spreads_interval_holds_what_it_promises() -> None:
    sd = np.random.default_rng(1).normal(size=(20_000, 4)).std(1, ddof=1)
    low, high = sd_interval(1.0, 4)
    assert np.mean((sd * low <= 1) & (sd * high >= 1)) == pytest.approx(0.95, abs=0.01)


def test_fewer_seeds_than_conclude_anything_are_never_enough() -> None:
    assert power(5.0, 1.0, 3) > 0.8
    assert seeds_needed(5.0, 1.0, 3).seeds == ENOUGH_PAIRS == 6


def test_a_difference_that_would_take_too_many_seeds_has_no_number() -> None:
    assert seeds_needed(1e-5, 1.0, 5).seeds is None
    assert seeds_needed(0.0, 1.0, 5).low is None


@pytest.mark.parametrize(("sd", "n"), [(0.0, 5), (1.0, 1), (math.nan, 5)])
def test_what_has_no_power_is_refused(sd: float, n: int) -> None:
    with pytest.raises(ValueError):
        power(1.0, sd, n)
