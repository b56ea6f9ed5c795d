"""The paired statistics against hand-computed cases and scipy, and what they refuse to conclude."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from actbench.analysis.paired import (
    mean_by_pretraining,
    nested_difference,
    paired_difference,
    permutation_p,
    spread,
    studentised_interval,
)

DIFFERENCES = st.lists(st.integers(-50, 50).map(lambda tenths: tenths / 10), min_size=2, max_size=8)


def test_spread_is_the_sample_standard_deviation() -> None:
    result = spread([1.0, 2.0, 3.0, 6.0])
    assert (result.mean, result.n) == (3.0, 4)
    assert result.sd == pytest.approx(math.sqrt(14 / 3))


def test_spread_of_one_value_has_no_deviation() -> None:
    assert spread([2.5]).sd is None


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_spread_refuses_what_is_no_number(values: list[float]) -> None:
    with pytest.raises(ValueError):
        spread(values)


def test_difference_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, standard error 1/sqrt(3), t(0.975; 2) = 4.30265."""
    result = paired_difference({0: 11.0, 1: 22.0, 2: 33.0}, {0: 10.0, 1: 20.0, 2: 30.0})
    assert result.mean == pytest.approx(2.0)
    assert result.interval is not None
    assert result.interval == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), rel=1e-5)
    assert result.n == 3


def test_difference_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    baseline = generator.normal(5, 1, 8)
    treatment = baseline + generator.normal(-0.05, 0.05, 8)
    result = paired_difference(dict(enumerate(treatment)), dict(enumerate(baseline)))
    expected = stats.ttest_rel(treatment, baseline)
    assert result.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert result.interval == pytest.approx((interval.low, interval.high))
    assert result.caution == ""


def test_pairing_is_by_seed_and_not_by_position() -> None:
    treatment, baseline = {2: 30.0, 0: 10.0, 1: 20.5}, {0: 9.0, 1: 19.0, 2: 29.0}
    result = paired_difference(treatment, baseline)
    assert result.mean == pytest.approx((1.0 + 1.5 + 1.0) / 3)
    assert result.interval is not None and result.interval[1] - result.interval[0] < 2


def test_seeds_without_a_partner_are_dropped_and_counted() -> None:
    result = paired_difference({0: 1.0, 1: 2.1, 7: 99.0}, {0: 0.0, 1: 1.0, 8: -99.0, 9: -99.0})
    assert (result.n, result.dropped) == (2, 3)
    assert result.mean == pytest.approx(1.05)


def test_no_seed_in_common_is_said() -> None:
    result = paired_difference({0: 1.0}, {1: 1.0})
    assert (result.mean, result.interval, result.n, result.dropped) == (None, None, 0, 2)
    assert "no seed in common" in result.caution


def test_one_pair_gives_no_interval() -> None:
    result = paired_difference({0: 2.0}, {0: 1.5})
    assert (result.mean, result.interval, result.p_value) == (0.5, None, None)
    assert "one seed" in result.caution and not result.excludes_zero


@pytest.mark.parametrize(("n", "caution"), [(2, "too few seeds"), (5, "too few seeds"), (6, ""), (7, "")])
def test_few_seeds_are_called_too_few(n: int, caution: str) -> None:
    result = paired_difference({i: 1.0 + 0.01 * i for i in range(n)}, dict.fromkeys(range(n), 0.0))
    assert result.interval is not None and result.excludes_zero
    assert result.caution == caution


def test_equal_differences_do_not_pretend_to_certainty() -> None:
    result = paired_difference({i: i + 0.1 for i in range(6)}, {i: float(i) for i in range(6)})
    assert (result.interval, result.p_value) == (None, None)
    assert "equal differences" in result.caution
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).interval is None


def test_an_interval_over_zero_does_not_exclude_it() -> None:
    result = paired_difference({0: 1.0, 1: -1.2, 2: 0.5}, dict.fromkeys(range(3), 0.0))
    assert not result.excludes_zero


def test_finetuning_seeds_are_averaged_within_a_pretraining_seed() -> None:
    """Within-seed means 1 and 3: n is 2, however many fine-tunings there were."""
    treatment = {(0, 0): 0.5, (0, 1): 1.5, (0, 2): 1.0, (1, 0): 3.0}
    result = nested_difference(treatment, dict.fromkeys(treatment, 0.0))
    assert result.n == 2
    assert result.mean == pytest.approx(2.0)
    assert result.interval == pytest.approx((2 - 12.7062, 2 + 12.7062), rel=1e-4)


def test_finetuning_pairs_need_both_seeds_to_match() -> None:
    result = nested_difference({(0, 0): 1.0, (0, 1): 100.0, (1, 0): 2.0}, {(0, 0): 0.0, (1, 0): 0.0, (1, 5): -50.0})
    assert result.mean == pytest.approx(1.5)
    assert (result.n, result.dropped) == (2, 2)


def test_many_finetunings_of_one_model_are_one_seed() -> None:
    values = {(0, i): 1.0 + 0.1 * i for i in range(10)}
    result = nested_difference(values, dict.fromkeys(values, 0.0))
    assert result.n == 1 and result.interval is None


def test_mean_by_pretraining() -> None:
    assert mean_by_pretraining({(1, 0): 4.0, (0, 1): 3.0, (0, 0): 1.0}) == {0: 2.0, 1: 4.0}


def every_sign(differences: list[float]) -> float:
    """The two-sided permutation p, by writing out all signs: twice the smaller tail, ties included."""
    means = np.array(
        [np.mean(np.multiply(signs, differences)) for signs in itertools.product((1, -1), repeat=len(differences))]
    )
    observed, slack = np.mean(differences), 1e-9
    return min(1.0, 2 * min(np.mean(means >= observed - slack), np.mean(means <= observed + slack)))


def test_permutation_by_hand() -> None:
    """Of +-1 +-2 +-0.5 two sums of eight are 2.5 or more: p = 2 * 2/8. All of one sign: 2 * 1/8."""
    assert permutation_p([1.0, 2.0, -0.5]) == pytest.approx(0.5)
    assert permutation_p([1.0, 2.0, 3.0]) == pytest.approx(0.25)
    assert permutation_p([*[0.0] * 5, -1.2, -2.5, 3.7]) == 1, "a sum of 0 but for rounding"


@settings(deadline=None, max_examples=40)
@given(DIFFERENCES)
def test_permutation_counts_all_signs_and_is_symmetric(differences: list[float]) -> None:
    p = permutation_p(differences)
    assert p == pytest.approx(every_sign(differences))
    assert p == pytest.approx(permutation_p([-value for value in reversed(differences)]))
    assert p >= 2 / 2 ** len(differences)


def test_many_pairs_draw_their_signs_and_agree_with_all_of_them() -> None:
    differences = list(np.random.default_rng(3).normal(0.9, 1, 15))
    assert permutation_p(differences) == permutation_p(differences)
    assert permutation_p(differences) == pytest.approx(every_sign(differences), abs=0.005)


@pytest.mark.parametrize(("n", "least"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125), (13, 2 / 2**13), (40, 2e-4)])
def test_what_the_permutation_test_could_at_best_have_shown(n: int, least: float) -> None:
    result = paired_difference({i: 1.0 + 0.01 * i for i in range(n)}, dict.fromkeys(range(n), 0.0))
    assert result.least_permutation_p == pytest.approx(least)
    assert result.permutation_p is None or result.permutation_p == pytest.approx(least)


def test_too_few_pairs_show_nothing_however_small_p() -> None:
    five, six = (paired_difference({i: 1 + 1e-3 * i for i in range(n)}, dict.fromkeys(range(n), 0.0)) for n in (5, 6))
    assert five.p_value is not None and five.p_value < 1e-6
    assert five.excludes_zero and not five.is_shown and six.is_shown


def test_the_bootstrap_interval_is_near_the_t_interval_of_many_normal_differences() -> None:
    x = np.random.default_rng(5).normal(1, 1, 60)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert studentised_interval(list(x)) == pytest.approx((expected.low, expected.high), abs=0.04)


def test_the_bootstrap_interval_reaches_further_where_the_tail_is() -> None:
    x = np.random.default_rng(6).exponential(1, 12)
    low, high = studentised_interval(list(x))
    assert high - x.mean() > 1.3 * (x.mean() - low)
    mirrored = studentised_interval([-value for value in x])
    assert mirrored == pytest.approx((-high, -low))


def test_a_bootstrap_interval_is_given_from_six_pairs_on() -> None:
    values = {i: float(np.sin(i)) for i in range(6)}
    assert paired_difference(values, dict.fromkeys(range(6), 0.0)).bootstrap is not None
    values.pop(0)
    assert paired_difference(values, dict.fromkeys(range(6), 0.0)).bootstrap is None
