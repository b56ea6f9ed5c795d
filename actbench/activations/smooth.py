"""Smooth functions with learnable coefficients."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.activations.base import ElementwiseActivation, Sharing
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
        above = (p * x + self.BETA) * x
        curved = torch.exp(x.clamp(max=self.EPS)) - 1  # compiled, expm1 takes twice the whole function's time
        return torch.where(x > 0, above, self.BETA * curved + n * (curved - x))
