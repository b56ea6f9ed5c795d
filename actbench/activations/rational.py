"""The learnable rational activation function of RAFT (Fang et al. 2023, arXiv 2208.14111; after Molina et al. 2020).

f(x) = P(x) / Q(x) with P(x) = sum_{i=0..m} a_i x^i and, in version A, Q(x) = 1 + sum_{j=1..n} |b_j x^j|.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from actbench.activations.base import Activation
from actbench.activations.registry import register

Start = tuple[tuple[float, ...], tuple[float, ...]]

# Version A, degrees (5, 4): least-squares fits on [-3, 3] that the rational-activations package and RAFT's released
# code start from: (a_0..a_5), (b_1..b_4).
STARTS: dict[str, Start] = {
    "gelu": (
        (
            -0.0012423594497499122,
            0.5080497063245629,
            0.41586363182937475,
            0.13022718688035761,
            0.024355900098993424,
            0.00290283948155535,
        ),
        (-0.06675015696494944, 0.17927646217001553, 0.03746682605496631, 1.6561610853276082e-10),
    ),
    "relu": (
        (
            0.029963801610813613,
            0.6168978366891341,
            2.37534759733888,
            3.0659900472408443,
            1.5246831881677423,
            0.2528070864040542,
        ),
        (-1.191550121923625, 4.4080487697236626, 0.9110357113686055, 0.34884977946384615),
    ),
    "leaky_relu": (
        (
            0.029792778657264946,
            0.6183735264987601,
            2.323309062531321,
            3.051936237265109,
            1.4854203263828845,
            0.2510244961111299,
        ),
        (-1.1419548357285474, 4.393159974992486, 0.8714712309957245, 0.34719662339598834),
    ),
    "swish": (
        (
            3.054879741161051e-07,
            0.5000007853744493,
            0.24999783422824703,
            0.05326628273219478,
            0.005803034571292244,
            0.0002751961022402342,
        ),
        (-4.111554955950634e-06, 0.10652899335007572, -1.2690007399796238e-06, 0.0005502331264140556),
    ),
    "tanh": (
        (
            -1.0804622559204184e-08,
            1.0003008043819048,
            -2.5878199375289335e-08,
            0.09632129918392647,
            3.4775841628196104e-09,
            0.0004255709234726337,
        ),
        (-0.0013027181209176277, 0.428349017422072, 1.4524304083061898e-09, 0.010796648111337176),
    ),
    "sigmoid": (
        (
            0.4999992534599381,
            0.25002157564685185,
            0.14061924500301096,
            0.049420492431596394,
            0.00876714851885483,
            0.0006442412789159799,
        ),
        (2.1694506382753683e-09, 0.28122766100417684, 1.0123620714203357e-05, 0.017531988049946),
    ),
}


@register("raf")
class RAF(Activation):
    """RAFT's rational function, version A: ten scalars a layer at degrees (5, 4).

    `init` names a published start for degrees (5, 4); any other degrees need `numerator` (a_0..a_m) and `denominator`
    (b_1..b_n). Raises ValueError when the coefficients do not fit the degrees.
    """

    def __init__(
        self,
        degrees: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] = (5, 4),
        init: str = "gelu",
        numerator: list[float] | None = None,
        denominator: list[float] | None = None,
    ):
        super().__init__()
        a, b = _start(tuple(degrees), init, numerator, denominator)
        self.numerator = nn.Parameter(torch.tensor(a, dtype=torch.float32))
        self.denominator = nn.Parameter(torch.tensor(b, dtype=torch.float32))

    def compute(self, x: Tensor) -> Tensor:
        """P(x) / Q(x), both by Horner's rule; |b_j x^j| = |b_j| |x|^j lets Q be a polynomial in |x|."""
        return _horner(self.numerator, x) / (1 + x.abs() * _horner(self.denominator.abs(), x.abs()))


def _horner(coefficients: Tensor, x: Tensor) -> Tensor:
    """sum_i coefficients[i] x^i."""
    terms = coefficients.unbind()
    total = terms[-1].expand_as(x)
    for term in reversed(terms[:-1]):
        total = torch.addcmul(term, total, x)
    return total


def _start(
    degrees: tuple[int, ...], init: str, numerator: list[float] | None, denominator: list[float] | None
) -> tuple[list[float], list[float]]:
    if (numerator is None) != (denominator is None):
        raise ValueError("give both numerator and denominator, or neither")
    if numerator is not None and denominator is not None:
        if (len(numerator) - 1, len(denominator)) != degrees:
            raise ValueError(
                f"degrees {degrees} need {degrees[0] + 1} numerator and {degrees[1]} denominator coefficients"
            )
        return numerator, denominator
    if init not in STARTS:
        raise ValueError(f"unknown init '{init}': known are {', '.join(sorted(STARTS))}")
    if degrees != (5, 4):
        raise ValueError(
            f"init '{init}' is published for degrees (5, 4) only: give numerator and denominator for {degrees}"
        )
    a, b = STARTS[init]
    return list(a), list(b)
