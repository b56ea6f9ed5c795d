"""What the tests of activations share: numbers in fp64, and inputs."""

from __future__ import annotations

import torch

from actbench.activations import Activation, create, get

X = [-2, -1, -0.5, 0, 0.5, 1, 2, 3]


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def with_coefficients(name: str, coefficients: dict[str, object], **options: object) -> Activation:
    """The activation in fp64 with these coefficients: a new module would round its own to fp32."""
    activation = create(name, **options).double()
    with torch.no_grad():
        for parameter, values in coefficients.items():
            activation.get_parameter(parameter).copy_(tensor(values))
    return activation


def polynomial(name: str, weights: list[float], bias: float = 0.0, **options: object) -> Activation:
    return with_coefficients(name, {"weight": weights, "bias": bias}, order=len(weights), **options)


def inputs_of(name: str, *shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """Normal numbers of a deviation of 3: one tensor, or a gate and a value."""
    generator = torch.Generator().manual_seed(seed)
    count = 1 + get(name).gated
    return tuple((3 * torch.randn(count, *shape, generator=generator, dtype=torch.float64)).to(dtype))
