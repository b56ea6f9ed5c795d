"""Activation functions as plug-ins: `create("raf", degrees=(5, 4), init="gelu")` maps (..., F) to (..., F).

Importing this package imports no torch; the plug-ins are loaded when one is first asked for. A new activation is one
file with one decorated class:

    from actbench.activations import Activation, register

    @register("cube")
    class Cube(Activation):
        def compute(self, x):
            return x**3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actbench.activations.registry import (
    available,
    canonical,
    clashes,
    code_hash,
    create,
    curve,
    distribution,
    expand,
    get,
    groups,
    has_coefficients,
    option_problems,
    register,
    source_file,
)

if TYPE_CHECKING:
    from actbench.activations.base import Activation, ElementwiseActivation

__all__ = [
    "Activation",
    "ElementwiseActivation",
    "available",
    "canonical",
    "clashes",
    "code_hash",
    "create",
    "curve",
    "distribution",
    "expand",
    "get",
    "groups",
    "has_coefficients",
    "option_problems",
    "register",
    "source_file",
]


def __getattr__(name: str) -> Any:
    if name in ("Activation", "ElementwiseActivation"):
        from actbench.activations import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
