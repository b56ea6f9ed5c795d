"""The feed-forward block: the slot that the whole project is about.

Shapes: B batch, T time, D model width, F FFN width.
"""

from __future__ import annotations

from torch import Tensor, nn

from actbench import activations
from actbench.activations import Activation
from actbench.config.schema import ActivationSpec
from actbench.nn.linear import Linear


class FeedForward(nn.Module):
    """down(act(up(x))), or down(act(gate(x), up(x))) when the activation is gated."""

    def __init__(self, d_model: int, width: int, spec: ActivationSpec, *, bias: bool):
        super().__init__()
        self.activation: Activation = activations.create(spec.name, width=width, **spec.options)
        self.width = width
        self.up = Linear(d_model, width, bias=bias)
        self.gate = Linear(d_model, width, bias=bias) if self.activation.gated else None
        self.down = Linear(width, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x), self.up(x)))
