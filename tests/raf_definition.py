"""Rational functions by their definition, term by term, for tests to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

VERSIONS = ("A", "B", "C", "D", "N")


def naive(version: str, a: Sequence[float], b: Sequence[float], x: np.ndarray) -> np.ndarray:
    """P(x) / Q(x) at x (N,)."""
    above = sum(a_i * x**i for i, a_i in enumerate(a))
    terms = [b_j * x**j for j, b_j in enumerate(b, start=int(version != "C"))]
    if version == "A":
        return above / (1 + sum(np.abs(term) for term in terms))
    return (
        above / {"B": 1 + abs(sum(terms)), "C": 0.1 + abs(sum(terms)), "N": 1 + sum(terms)}[version.replace("D", "B")]
    )
