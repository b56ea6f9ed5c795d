"""Many comparisons at once: the more differences are tested, the more of them look real by luck alone."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values of one family, adjusted, in their order (Holm 1979, *A simple sequentially rejective ...*).

    Calling real what has an adjusted p of 5 % or less is wrong about any of the family in at most 5 % of all families,
    however the tests depend on each other. The k-th smallest of m is multiplied by m - k + 1 and is never below a
    smaller one's. None stands for a comparison without a test: it stays None and does not count.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted
