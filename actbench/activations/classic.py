"""Fixed element-wise functions. torch's own kernels for these compute in fp32 inside, whatever the dtype."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.activations.base import Activation
from actbench.activations.registry import register


@register("relu")
class ReLU(Activation):
    """The positive part of x."""

    formula = r"\max(0, x)"
    source = "Nair & Hinton 2010, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML"
    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """max(0, x)."""
        return F.relu(x)


@register("leaky_relu")
class LeakyReLU(Activation):
    """x where it is positive, else `slope` times x."""

    formula = r"\max(0, x) + s \min(0, x)"
    source = "Maas, Hannun & Ng 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, ICML workshop"
    native_low_precision = True

    def __init__(self, slope: float = 0.01):
        super().__init__()
        self.slope = slope

    def compute(self, x: Tensor) -> Tensor:
        """max(0, x) + slope min(0, x)."""
        return F.leaky_relu(x, self.slope)


@register("relu2")
class ReLU2(Activation):
    """The square of ReLU."""

    formula = r"\max(0, x)^2"
    source = "So et al. 2021, Primer: Searching for Efficient Transformers for Language Modeling, arXiv 2109.08668"

    def compute(self, x: Tensor) -> Tensor:
        """max(0, x)^2."""
        return F.relu(x).square()


@register("leaky_relu2")
class LeakyReLU2(Activation):
    """The square of a leaky ReLU of slope 1/2: unlike ReLU^2, it keeps a gradient below zero."""

    formula = r"(\max(0, x) + s \min(0, x))^2"
    source = "ReLU^2 (So et al. 2021, arXiv 2109.08668) with a leaky ReLU; no paper proposes it, as far as we know"

    def __init__(self, slope: float = 0.5):
        super().__init__()
        self.slope = slope

    def compute(self, x: Tensor) -> Tensor:
        """(max(0, x) + slope min(0, x))^2."""
        return F.leaky_relu(x, self.slope).square()


@register("gelu")
class GELU(Activation):
    """x times the normal distribution function at x: exact, or by its tanh approximation (GPT-2's)."""

    formula = r"x \Phi(x)"
    source = "Hendrycks & Gimpel 2016, Gaussian Error Linear Units, arXiv 1606.08415"
    native_low_precision = True

    def __init__(self, approximate: Literal["none", "tanh"] = "none"):
        super().__init__()
        self.approximate = approximate

    def compute(self, x: Tensor) -> Tensor:
        """x Phi(x)."""
        return F.gelu(x, approximate=self.approximate)


@register("silu")
class SiLU(Activation):
    """x times its sigmoid, also known as Swish with beta = 1."""

    formula = r"x \sigma(x)"
    source = "Elfwing, Uchibe & Doya 2018, Sigmoid-Weighted Linear Units for Neural Network Function Approximation in \
Reinforcement Learning, arXiv 1702.03118"
    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """x sigmoid(x)."""
        return F.silu(x)


@register("mish")
class Mish(Activation):
    """x times the hyperbolic tangent of its softplus."""

    formula = r"x \tanh(\ln(1 + e^x))"
    source = "Misra 2020, Mish: A Self Regularized Non-Monotonic Activation Function, BMVC, arXiv 1908.08681"
    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """x tanh(softplus(x))."""
        return F.mish(x)


@register("tanh")
class Tanh(Activation):
    """The hyperbolic tangent, BERT's choice in the pooler."""

    formula = r"\tanh(x)"
    source = "LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, Neural Networks: Tricks of the Trade"
    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """tanh(x)."""
        return torch.tanh(x)


@register("sigmoid")
class Sigmoid(Activation):
    """The logistic function."""

    formula = r"\sigma(x) = \frac{1}{1 + e^{-x}}"
    source = "Rumelhart, Hinton & Williams 1986, Learning Representations by Back-Propagating Errors, Nature 323"
    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        """sigmoid(x)."""
        return torch.sigmoid(x)
