"""Smooth functions with learnable coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.activations.base import ElementwiseActivation, Sharing
from actbench.activations.by_hand import add_product, at_most, exp, subtract_product, total, where_positive
from actbench.activations.registry import register


@register("swish_beta")
class SwishBeta(ElementwiseActivation):
    """x times the sigmoid of beta x, beta from 1: SiLU at the start."""

    formula = r"x\, \sigma(\beta x)"
    source = "Ramachandran, Zoph & Le 2017, Searching for Activation Functions, arXiv 1710.05941"
    symbols: ClassVar = {"beta": r"\beta"}

    def __init__(self, sharing: Sharing = "layer", width: int | None = None):
        super().__init__(sharing, width)
        self.beta = self.coefficient(1.0)

    def compute(self, x: Tensor) -> Tensor:
        """x sigmoid(beta x)."""
        return x * torch.sigmoid(self.spread(self.beta) * x)

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        (x,) = inputs
        gate = torch.sigmoid(self.beta * x)
        through = gate * grad
        by_product = through * x  # by beta x, times 1 - gate
        by_product = subtract_product(by_product, by_product, gate)
        return add_product(through, self.beta, by_product), *self.not_frozen(beta=total(by_product, x))


@register("xielu")
class XIELU(ElementwiseActivation):
    """The integral of an ELU-like gradient: quadratic above zero, a trainable ELU below.

    alpha_p = softplus(p) and alpha_n = beta + softplus(n) both start at 0.8, beta = 0.5 is fixed, and e^x - 1 is cut
    off at `EPS` below zero, all as the paper has it.
    """

    formula = r"\alpha_p x^2 + \beta x \ \ (x > 0), \quad \alpha_n (e^x - 1 - x) + \beta x \ \ (x \leq 0)"
    source = "Huang & Schlag 2024, Deriving Activation Functions Using Integration, arXiv 2411.13010"
    symbols: ClassVar = {"p": r"p, \ \alpha_p = \ln(1 + e^p)", "n": r"n, \ \alpha_n = \beta + \ln(1 + e^n)"}
    START, BETA, EPS = 0.8, 0.5, -1e-6

    def __init__(self, sharing: Sharing = "layer", width: int | None = None):
        super().__init__(sharing, width)
        self.p = self.coefficient(math.log(math.expm1(self.START)))
        self.n = self.coefficient(math.log(math.expm1(self.START - self.BETA)))

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F); below zero, with alpha_n = beta + softplus(n) taken apart."""
        p, n = F.softplus(self.spread(self.p)), F.softplus(self.spread(self.n))
        above, curved = x.relu(), self._exp(x) - 1  # compiled, expm1 takes twice the whole function's time
        below = self.BETA * curved + n * (curved + (-x).relu())
        return (p * above + self.BETA) * above + (below - where_positive(below, x))

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        (x,) = inputs
        p, n = F.softplus(self.p), F.softplus(self.n)
        above, below = x.relu(), -(-x).relu()
        by_above = where_positive(grad, x)
        by_below = grad - by_above
        powers = self._exp(x)
        slope = where_positive(powers, self.EPS - x).mul_(self.BETA + n).sub_(n)  # below
        by_p = by_above * above
        by_x = add_product(by_below * slope, 2 * p, by_p)
        by_x = add_product(by_x, self.BETA, by_above)
        by_p, by_n = total(by_p, above), total(by_below, powers.sub_(1).sub_(below))
        return by_x, *self.not_frozen(p=by_p * torch.sigmoid(self.p), n=by_n * torch.sigmoid(self.n))

    def _exp(self, x: Tensor) -> Tensor:
        """e^x, x cut off at EPS."""
        return exp(at_most(x, self.EPS))
