"""The feed-forward block: the slot that the whole project is about.

Shapes: B batch, T time, D model width, F FFN width.
"""

from __future__ import annotations

from torch import Tensor, nn

from actbench import activations
from actbench.activations import Activation
from actbench.config.schema import ActivationSpec


class FeedForward(nn.Module):
    """down(act(up(x))), or down(act(gate(x), up(x))) when the activation is gated."""

    def __init__(self, d_model: int, d_ff: int, spec: ActivationSpec, *, bias: bool, matched: bool):
        super().__init__()
        self.activation: Activation = activations.create(spec.name, **spec.options)
        width = gated_width(d_ff) if matched and self.activation.gated else d_ff
        self.up = nn.Linear(d_model, width, bias=bias)
        self.gate = nn.Linear(d_model, width, bias=bias) if self.activation.gated else None
        self.down = nn.Linear(width, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x), self.up(x)))


def gated_width(d_ff: int) -> int:
    """The width at which three matrices have as many parameters as two of width `d_ff`: 2/3 of it, rounded.

    Rounded to a multiple of 64, or of 8 where 64 would miss by more than 1 %.
    """
    multiple = 64 if d_ff >= 4800 else 8
    return max(multiple, round(2 * d_ff / 3 / multiple) * multiple)
