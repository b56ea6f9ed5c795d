"""Sums of hinges, sum_i slope_i max(0, sign_i x - place_i), and their gradients, with a compiler and without one.

Where slopes and places are plain numbers, as `elements` gives them, a hinge takes two passes through memory forward and
four backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from actbench.activations.by_hand import add_product, total, where_positive

Hinge = tuple[int, Any, Any]  # sign (1 or -1), place, slope: numbers, or tensors that line up with x


def hinges(x: Tensor, terms: Sequence[Hinge]) -> Tensor:
    """The sum, of x's shape."""
    if _are_numbers(terms):
        outwards = {1: x, -1: -x}
        result = torch.full_like(x, -sum(place * slope for _, place, slope in terms))
        for sign, place, slope in terms:  # max(0, u - place) = max(place, u) - place
            result.add_(outwards[sign].clamp_min(place), alpha=slope)
        return result
    result = torch.zeros_like(x)
    for sign, place, slope in terms:
        result = add_product(result, slope, _beyond(x, sign, place).relu())
    return result


def gradients(x: Tensor, grad: Tensor, terms: Sequence[Hinge]) -> tuple[Tensor, Tensor, Tensor]:
    """Of (hinges * grad).sum() by x; by the slopes, (k,); and, divided by -slope, by the places, (k,).

    The last are the sums of `grad` above each hinge.
    """
    by_x, by_slopes, sums = torch.zeros_like(x), [], []
    outwards = {1: x, -1: -x} if _are_numbers(terms) else {}
    for sign, place, slope in terms:
        if outwards:
            active = torch.ops.aten.threshold_backward(grad, outwards[sign], place)
            by_slope = total(active, x)  # times sign, and less place by the sum
        else:
            beyond = _beyond(x, sign, place)
            active = where_positive(grad, beyond)
            by_slope = total(active, beyond)
        by_x = add_product(by_x, sign * slope, active)
        by_slopes.append(by_slope)
        sums.append(total(active))
    by_slope, above = torch.stack(by_slopes), torch.stack(sums)
    if outwards:
        signs, places = above.new_tensor([(sign, place) for sign, place, _ in terms]).unbind(-1)
        by_slope = signs * by_slope - places * above
    return by_x, by_slope, above


def _beyond(x: Tensor, sign: int, place: Any) -> Tensor:
    return x - place if sign > 0 else -place - x


def _are_numbers(terms: Sequence[Hinge]) -> bool:
    return all(isinstance(slope, float) and isinstance(place, float) for _, place, slope in terms)
