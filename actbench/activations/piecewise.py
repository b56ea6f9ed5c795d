"""Piecewise linear functions with learnable coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from actbench.activations.base import ElementwiseActivation, Sharing
from actbench.activations.by_hand import add_product, elements, through_prelu, total, where_positive
from actbench.activations.hinges import Hinge, hinges
from actbench.activations.hinges import gradients as hinge_gradients
from actbench.activations.registry import register


@register("prelu")
class PReLU(ElementwiseActivation):
    """A leaky ReLU whose slope is learned, from 1/4; weight decay would pull it towards ReLU, the paper uses none."""

    formula = r"\max(0, x) + s \min(0, x)"
    source = "He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers, ICCV, arXiv 1502.01852"
    symbols: ClassVar = {"slope": "s"}

    def __init__(self, sharing: Sharing = "layer", width: int | None = None):
        super().__init__(sharing, width)
        self.slope = self.coefficient(0.25)

    def compute(self, x: Tensor) -> Tensor:
        """x above zero, slope x below; without a compiler torch.where is slow."""
        return x.relu() - self.spread(self.slope) * (-x).relu()

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        by_x, by_slope = through_prelu(inputs[0], grad, self.slope)
        return by_x, *self.not_frozen(slope=by_slope)


@register("srelu")
class SReLU(ElementwiseActivation):
    """The identity between two thresholds t_l < t_r, lines of the slopes a_l and a_r beyond them.

    It starts as a leaky ReLU, t_l = 0, a_l = 0.2, t_r = 1, a_r = 1, as the paper's does, which is held there for some
    epochs; the numbers are ours. Some inputs are above 1, so that a_r moves from the first step and t_r, whose gradient
    is proportional to 1 - a_r, from the second. Should the thresholds cross, both bends hold between them.
    """

    formula = r"x + (a_r - 1) \max(0, x - t_r) + (1 - a_l) \max(0, t_l - x)"
    source = "Jin et al. 2016, Deep Learning with S-shaped Rectified Linear Activation Units, AAAI, arXiv 1512.07030"
    symbols: ClassVar = {"left": "t_l", "left_slope": "a_l", "right": "t_r", "right_slope": "a_r"}

    def __init__(self, sharing: Sharing = "layer", width: int | None = None):
        super().__init__(sharing, width)
        self.left, self.left_slope = self.coefficient(0.0), self.coefficient(0.2)
        self.right, self.right_slope = self.coefficient(1.0), self.coefficient(1.0)

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        left, left_slope = self.spread(self.left), self.spread(self.left_slope)
        right, right_slope = self.spread(self.right), self.spread(self.right_slope)
        return x + (right_slope - 1) * (x - right).relu() + (1 - left_slope) * (left - x).relu()

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        (x,) = inputs
        left, right = 1 - self.left_slope, self.right_slope - 1  # the changes of slope
        above, below = x - self.right, self.left - x
        by_above, by_below = where_positive(grad, above), where_positive(grad, below)
        by = {
            "left": left * total(by_below),
            "left_slope": -total(by_below, below),
            "right": -right * total(by_above),
            "right_slope": total(by_above, above),
        }
        by_x = add_product(grad + right * by_above, -left, by_below)
        return by_x, *self.not_frozen(**by)


@register("apl")
class APL(ElementwiseActivation):
    """ReLU and a sum of hinges below b_s with slopes a_s, all learned.

    The slopes start at 0, so that it starts as ReLU; the hinges evenly on [-1, 1], our choice, so that no two are
    alike. A hinge's gradient is proportional to its slope: it moves from the second step. The paper puts an L2 penalty
    of 0.001 on the coefficients; here that is the default of their weight decay.
    """

    formula = r"\max(0, x) + \sum_{s=1}^{S} a_s \max(0, b_s - x)"
    source = "Agostinelli, Hoffman, Sadowski & Baldi 2015, Learning Activation Functions to Improve Deep Neural \
Networks, ICLR workshop, arXiv 1412.6830"
    symbols: ClassVar = {"slopes": r"a_1, \dots, a_S", "hinges": r"b_1, \dots, b_S"}
    weight_decay = 0.001

    def __init__(
        self, hinges: Annotated[int, Field(ge=1, le=256)] = 5, sharing: Sharing = "layer", width: int | None = None
    ):
        super().__init__(sharing, width)
        self.slopes = self.coefficient([0.0] * hinges)
        self.hinges = self.coefficient([0.0] if hinges == 1 else [2 * s / (hinges - 1) - 1 for s in range(hinges)])

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        return hinges(x, self._terms())

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        by_x, by_slopes, sums = hinge_gradients(inputs[0], grad, self._terms())
        return by_x, *self.not_frozen(slopes=by_slopes[1:], hinges=self.slopes * sums[1:])

    def _terms(self) -> list[Hinge]:
        slopes, places = (elements(self.spread(parameter)) for parameter in (self.slopes, self.hinges))
        return [(1, 0.0, 1.0), *((-1, -place, slope) for place, slope in zip(places, slopes, strict=True))]


@register("splash")
class Splash(ElementwiseActivation):
    """Hinges at fixed places, symmetric about zero, with a learned change of slope at each; it starts as ReLU.

    `hinges` are the places b_s >= 0, ascending from 0; 0, 1, 2 and 2.5 with their mirror images make the paper's S = 7
    (their places are not checked against its text). They suit inputs of a variance of one; `hinges_from` places them by
    data. Raises ValueError for hinges that do not ascend from 0.
    """

    formula = r"\sum_{s} a^{+}_s \max(0, x - b_s) + \sum_{s} a^{-}_s \max(0, -x - b_s)"
    source = "Tavakoli, Agostinelli & Baldi 2021, SPLASH: Learnable Activation Functions for Improving Accuracy and \
Adversarial Robustness, Neural Networks 140, arXiv 2006.08947"
    symbols: ClassVar = {"right": r"a^{+}_1, a^{+}_2, \dots", "left": r"a^{-}_1, a^{-}_2, \dots"}

    def __init__(
        self,
        hinges: tuple[float, ...] = (0.0, 1.0, 2.0, 2.5),
        sharing: Sharing = "layer",
        width: int | None = None,
    ):
        super().__init__(sharing, width)
        if not hinges or hinges[0] != 0 or not all(a < b < math.inf for a, b in pairwise(hinges)):
            raise ValueError(f"hinges must ascend from 0, not {list(hinges)}")
        self.hinges = hinges
        self.right = self.coefficient([1.0] + [0.0] * (len(hinges) - 1))
        self.left = self.coefficient([0.0] * len(hinges))

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        return hinges(x, self._terms())

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        by_x, by_slopes, _ = hinge_gradients(inputs[0], grad, self._terms())
        by_right, by_left = by_slopes.chunk(2)
        return by_x, *self.not_frozen(right=by_right, left=by_left)

    def _terms(self) -> list[Hinge]:
        right, left = (elements(self.spread(parameter)) for parameter in (self.right, self.left))
        rising = [(1, place, slope) for place, slope in zip(self.hinges, right, strict=True)]
        return [*rising, *((-1, place, slope) for place, slope in zip(self.hinges, left, strict=True))]


def hinges_from(inputs: Tensor, count: int) -> list[float]:
    """Places for `count` of Splash's hinges: 0, and so that between any two neighbours lie as many |inputs|.

    `inputs` (R, F) are what an activation receives. Returns ascending floats, the first 0.0. Raises ValueError when
    an input is not finite or there are too few different ones.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    sizes = inputs.detach().double().abs().flatten().sort().values
    if not torch.isfinite(sizes).all():
        raise ValueError("some inputs are not finite")
    hinges = [0.0, *(sizes[len(sizes) * i // count].item() for i in range(1, count) if len(sizes))]
    if len(hinges) < count or any(a >= b for a, b in pairwise(hinges)):
        raise ValueError(f"{len(sizes)} inputs have too few different sizes for {count} hinges")
    return hinges
