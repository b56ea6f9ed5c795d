"""Where a rational function starts: at published coefficients, or at a fit to another activation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from actbench.activations.fitting import Array, Version, fit
from actbench.activations.registry import create
from actbench.errors import BadInput

if TYPE_CHECKING:
    from actbench.activations.base import Activation

Start = tuple[tuple[float, ...], tuple[float, ...]]

ALIASES = {"swish": "silu"}

# Version A, degrees (5, 4): least-squares fits on [-3, 3] that the rational-activations package and RAFT's released
# code start from: (a_0..a_5), (b_1..b_4).
PUBLISHED: dict[str, Start] = {
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
    "silu": (
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


def start(init: str, version: Version, degrees: tuple[int, int], interval: tuple[float, float]) -> Start:
    """(a_0..a_m), (b_1..b_n) of a rational function like `init`; in version C, b_0 comes first.

    Published for version A, degrees (5, 4) and [-3, 3]; else the fit with the smallest largest error in the interval.
    Raises ValueError when there is no such function, or it cannot be fitted.
    """
    init = ALIASES.get(init, init)
    if (version, degrees, interval) == ("A", (5, 4), (-3.0, 3.0)) and init in PUBLISHED:
        return PUBLISHED[init]
    try:
        cls: type = type(_module(init))
        return _fitted(init, cls, version, degrees, interval)
    except ValueError as error:
        raise ValueError(f"init: {error}") from None


def target(name: str) -> Callable[[Array], Array]:
    """The function to fit, fp64 (N,) -> (N,), of an activation's name, or "swish".

    It has its default options and, where it is learnable, the coefficients it starts at. Raises ValueError when there
    is none of that name, or it is no function of one number.
    """
    import torch

    module = _module(ALIASES.get(name, name))

    def function(x: Array) -> Array:
        with torch.device("cpu"), torch.no_grad():
            values: Array = module(torch.from_numpy(x)).numpy()
        return values

    return function


@functools.lru_cache
def _fitted(init: str, cls: type, version: Version, degrees: tuple[int, int], interval: tuple[float, float]) -> Start:
    """`cls` tells two states of a user's file apart."""
    found = fit(target(init), version, degrees, interval)
    return found.numerator, found.denominator


def _module(name: str) -> Activation:
    """On the CPU, whatever the device of the model that is being built."""
    import torch

    try:
        with torch.device("cpu"):
            module = create(name).double().eval()
    except BadInput as error:
        raise ValueError("; ".join(str(replace(problem, key="")) for problem in error.problems)) from None
    if module.gated or module.whole_row:
        kind = "gated" if module.gated else "a function of whole rows"
        raise ValueError(f"'{name}' is {kind}: only a function of one number can be fitted")
    return module
