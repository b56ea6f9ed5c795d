"""How many directions the matrices of the feed-forward blocks use, by their singular values.

Shapes: a matrix is (M, N); of a mixture of E experts it is (E, M, N). K = min(M, N) singular values each.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

MATRICES = {"up": "in", "gate": "gate", "down": "out"}  # what the modules are called -> what a reader is told
NAME = re.compile(r"(?:^|\.)(layers\.\d+)\.feed_forward\.(?:(?!activation\.)\w+\.)*(up|gate|down)(?:\.weight)?$")
QUADRATURE = 10_000  # nodes
COUNTED = 0.01  # of the largest singular value

Ranks = dict[str, dict[str, dict[str, float]]]  # {slot: {matrix: {measure: value}}}


def matrix_ranks(weight: Tensor) -> dict[str, float]:
    """The measures of (M, N) or, for (E, M, N), their means over the experts. All are 0 for a matrix of zeros.

    effective_rank: exp of the entropy of the singular values divided by their sum, from 1 to K (Roy & Vetterli 2007,
    *The effective rank: a measure of effective dimensionality*). share_above_1_percent: of K, those above COUNTED
    times the largest. stable_rank: the sum of their squares over the largest square, from 1 to K (Rudelson & Vershynin
    2007, *Sampling from large matrices*). full_rank is K. effective_rank_of_random: the effective rank over that of a
    random matrix of the same shape, since the more oblong a matrix is, the higher is its rank by chance.
    """
    if isinstance(weight, DTensor):  # split over processes: all of them put it together
        weight = weight.full_tensor()
    values = torch.linalg.svdvals(weight.detach().float()).double()
    K = values.shape[-1]
    largest = values[..., :1]
    share = values / values.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    effective = torch.where(largest[..., 0] > 0, torch.special.entr(share).sum(-1).exp(), 0.0)
    above = (values > COUNTED * largest).double().mean(-1)
    stable = (values / largest.clamp_min(torch.finfo(torch.float64).tiny)).square().sum(-1)
    measured = {
        "effective_rank": effective,
        "effective_rank_share": effective / K,
        "effective_rank_of_random": effective / random_effective_rank(*weight.shape[-2:]),
        "share_above_1_percent": above,
        "stable_rank": stable,
    }
    return {**{name: value.mean().item() for name, value in measured.items()}, "full_rank": float(K)}


@cache
def random_effective_rank(rows: int, columns: int) -> float:
    """The effective rank of a large (M, N) matrix of independent numbers of one variance; above 0.

    With the density of its squared singular values x by Marchenko and Pastur (1967) on [a, b], it is
    K E[s] exp(-E[s ln s] / E[s]) for s = sqrt(x).
    """
    K, ratio = min(rows, columns), min(rows, columns) / max(rows, columns)
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    angle = (np.arange(QUADRATURE) + 0.5) * np.pi / QUADRATURE
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    density = np.sin(angle) ** 2 / x  # by the angle, but for a factor
    density /= density.sum()
    s = np.sqrt(x)
    mean = density @ s
    return float(K * mean * np.exp(-(density @ (s * np.log(s))) / mean))


def model_ranks(model: nn.Module) -> Ranks:
    """The measures of every feed-forward block's matrices: in, gate where there is one, and out."""
    return {
        slot: {MATRICES[part]: matrix_ranks(weight) for part, weight in parts.items()}
        for slot, parts in _feed_forward_matrices(model).items()
    }


def _feed_forward_matrices(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, parameter in model.named_parameters():
        match = NAME.search(name)
        if match is not None and parameter.ndim in (2, 3):
            found.setdefault(match[1], {})[match[2]] = parameter
    return {
        slot: {part: parts[part] for part in MATRICES if part in parts and _is_of_the_block(part, parts)}
        for slot, parts in found.items()
    }


def _is_of_the_block(part: str, parts: dict[str, Tensor]) -> bool:
    """A gate that is no such matrix is a router's."""
    return part != "gate" or ("up" in parts and parts["gate"].shape == parts["up"].shape)
