"""Holm's correction: a hand-computed case, what it must keep, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actbench.analysis.multiple import holm

FAMILIES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


def test_holm_by_hand() -> None:
    """4 x 0.005; 3 x 0.01; 2 x 0.03; 1 x 0.04, which may not fall below its smaller neighbour's 0.06."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == [pytest.approx(x) for x in (0.03, 0.06)] + [
        None,
        pytest.approx(0.06),
        pytest.approx(0.02),
    ]


def test_one_test_needs_no_correction() -> None:
    assert holm([None, 0.04]) == [None, 0.04]
    assert holm([]) == []


@given(FAMILIES)
def test_holm_keeps_order_and_lowers_nothing(family: list[float | None]) -> None:
    adjusted = holm(family)
    pairs = [(p, a) for p, a in zip(family, adjusted, strict=True) if p is not None and a is not None]
    assert [a is None for a in adjusted] == [p is None for p in family]
    assert all(p <= a <= min(1.0, max(p, len(pairs) * p)) for p, a in pairs)
    in_order = [a for _, a in sorted(pairs)]
    assert in_order == sorted(in_order)


@given(FAMILIES, st.randoms())
def test_the_order_of_the_family_does_not_matter(family: list[float | None], random: object) -> None:
    places = list(range(len(family)))
    random.shuffle(places)  # type: ignore[attr-defined]
    assert holm([family[place] for place in places]) == [holm(family)[place] for place in places]


def test_a_family_of_nothing_is_rarely_called_something() -> None:
    p = np.random.default_rng(0).uniform(size=(2_000, 10))
    wrong = np.mean([min(x for x in holm(list(row)) if x is not None) <= 0.05 for row in p])
    assert wrong == pytest.approx(0.05, abs=0.015)
