"""The same functions as others write them, measured against ours.

raf:       the torch path of the package rational-activations (Molina et al. 2020), where it is installed.
poly_norm: the formula of Liger-Kernel's LigerPolyNorm in plain PyTorch. Not Liger's Triton kernel, which needs a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from actbench import activations
from actbench.bench.activations.alone import compare
from actbench.bench.activations.cells import Cell
from actbench.bench.activations.request import DTYPES


class LigerFormula(nn.Module):
    """w_0 n(x^3) + w_1 n(x^2) + w_2 n(x) + b with n(u) = u rsqrt(mean(u^2) + eps), computed in fp32."""

    def __init__(self, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 1 / 3))
        self.bias = nn.Parameter(torch.zeros(()))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        u = x.float()
        w = self.weight
        return (w[0] * self._norm(u**3) + w[1] * self._norm(u**2) + w[2] * self._norm(u) + self.bias).to(x.dtype)

    def _norm(self, u: Tensor) -> Tensor:
        return u * torch.rsqrt(u.square().mean(-1, keepdim=True) + self.eps)


class RationalActivations(nn.Module):
    """`rational.torch.Rational`, version A, degrees (5, 4), from its GELU start; the result in the input's dtype."""

    def __init__(self) -> None:
        super().__init__()
        package = import_module("rational.torch")
        self.rational = package.Rational(approx_func="gelu", degrees=(5, 4), cuda=False, version="A")

    def forward(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        y: Tensor = self.rational(x)
        return y.to(x.dtype)


# By our name: the peer's, and how to make one.
PEERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "raf": ("rational-activations", RationalActivations),
    "poly_norm": ("Liger's formula in plain torch", LigerFormula),
}


def missing(name: str, device: str) -> str | None:
    """Why the peer of our activation `name` cannot be measured, or None."""
    if name != "raf":
        return None
    if find_spec("rational") is None:
        return "rational-activations is not installed: pip install --no-deps rational-activations"
    return None if device == "cpu" else "the torch path of rational-activations runs on the CPU alone"


def measure(name: str, shape: tuple[int, int], dtype: str, mode: str, *, rounds: int, device: str) -> Cell:
    """The peer of our activation `name`, as a ratio to ours."""
    label, make = PEERS[name]
    comparison = compare(
        make(),
        against=activations.create(name, width=shape[1]),
        shape=shape,
        dtype=DTYPES[dtype],
        compiled=mode == "compiled",
        rounds=rounds,
        device=device,
    )
    return Cell("peer", label, name, shape, dtype, mode, False, None, comparison)
