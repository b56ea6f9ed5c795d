"""Numbers as text: what is not zero does not look like it, and all numbers of a cell have the same digits."""

from __future__ import annotations

import pytest

from actbench.analysis.paired import Spread
from actbench.analysis.power import Needed
from actbench.analysis.tasks import Estimate
from actbench.report.numbers import interval, mean_and_sd, needed_seeds, signed_with_interval, with_interval


@pytest.mark.parametrize(
    ("value", "ends", "said"),
    [
        (-0.021, (-0.031, -0.011), "−0.0210 [−0.0310, −0.0110]"),
        (0.00009, (0.00003, 0.00015), "+0.000090 [+0.000030, +0.000150]"),
        (-0.1, (-0.2, -0.00000123), "−0.1000000 [−0.2000000, −0.0000012]"),
        (0.000012, None, "+0.000012"),
        (0.0, (-0.1, 0.1), "+0.0000 [−0.1000, +0.1000]"),
        (2e-16, (-0.1, 0.1), "+0.0000 [−0.1000, +0.1000]"),
        (0.00005001, (0.0001, 0.0002), "+0.0001 [+0.0001, +0.0002]"),
    ],
    ids=["usual", "small", "one end", "alone", "zero itself", "rounding", "just not zero"],
)
def test_a_difference_that_is_not_zero_does_not_look_it(
    value: float, ends: tuple[float, float] | None, said: str
) -> None:
    assert signed_with_interval(value, ends, 4) == said


def test_an_interval_of_its_own_shows_on_which_side_of_zero_it_ends() -> None:
    assert interval((0.0000301, 0.5), 4) == "[+0.000030, +0.500000]"


def test_a_spread_that_is_not_zero_does_not_look_it() -> None:
    assert mean_and_sd(Spread(5.0123, 0.004, 3), 4) == "5.0123 ± 0.0040"
    assert mean_and_sd(Spread(5.0123, 0.0000117, 3), 4) == "5.012300 ± 0.000012"
    assert mean_and_sd(Spread(5.0123, 0.0, 3), 4) == "5.0123 ± 0.0000"
    assert mean_and_sd(Spread(5.0123, 4e-16, 3), 4) == "5.0123 ± 0.0000"
    assert mean_and_sd(Spread(0.00002, None, 1), 4) == "0.000020"


def test_an_estimate_that_is_not_zero_does_not_look_it() -> None:
    assert with_interval(Estimate(0.5, (0.0021, 1.0)), 2) == "0.5000 [0.0021, 1.0000]"
    assert with_interval(Estimate(0.5, (0.0, 1.0)), 2) == "0.50 [0.00, 1.00]"


def test_a_number_of_seeds_that_is_not_given_is_a_dash() -> None:
    assert needed_seeds(None) == "–"
    assert needed_seeds(Needed(34, 14, None)) == "34 [14 to > 10,000]"
