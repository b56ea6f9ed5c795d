"""Gated functions: a feed-forward block gives them two projections of its input, a gate and a value, each (..., F)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from actbench.activations.base import Activation
from actbench.activations.inner import adopt, inner_activation
from actbench.activations.poly_norm import PolyNorm
from actbench.activations.registry import register

SHAZEER = "Shazeer 2020, GLU Variants Improve Transformer, arXiv 2002.05202"


class _Gated(Activation):
    """gate(g) * v: a subclass says what happens to the gate."""

    gated = True

    def gate(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        raise NotImplementedError

    def compute(self, gate: Tensor, value: Tensor) -> Tensor:
        """self.gate(gate) * value, each (..., F)."""
        return self.gate(gate) * value

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """What the gate multiplies a value of one by; `inputs` (R, F) are gates."""
        return self.gate(x)


@register("swiglu")
class SwiGLU(_Gated):
    """A value gated by SiLU, as in LLaMA."""

    formula = r"g\,\sigma(g)\,v"
    source = SHAZEER

    def gate(self, x: Tensor) -> Tensor:
        """x sigmoid(x)."""
        return F.silu(x)


@register("geglu")
class GEGLU(_Gated):
    """A value gated by GELU, exact or by its tanh approximation."""

    formula = r"g\,\Phi(g)\,v"
    source = SHAZEER

    def __init__(self, approximate: Literal["none", "tanh"] = "none"):
        super().__init__()
        self.approximate = approximate

    def gate(self, x: Tensor) -> Tensor:
        """x Phi(x)."""
        return F.gelu(x, approximate=self.approximate)


@register("reglu")
class ReGLU(_Gated):
    """A value gated by ReLU."""

    formula = r"\max(0, g)\,v"
    source = SHAZEER

    def gate(self, x: Tensor) -> Tensor:
        """max(0, x)."""
        return F.relu(x)


@register("glu")
class GLU(_Gated):
    """A value gated by any activation of one input: the sigmoid of the first GLU, or a learnable one.

    `inner` is its name and `inner_options` its options. Raises ValueError when there is no such activation.
    """

    formula = r"\rho(g)\,v"
    source = "Dauphin, Fan, Auli & Grangier 2017, Language Modeling with Gated Convolutional Networks, arXiv 1612.08083"
    inner: Activation

    def __init__(self, inner: str = "sigmoid", inner_options: dict[str, Any] | None = None, width: int | None = None):
        super().__init__()
        adopt(self, inner_activation(inner, inner_options, width))

    def gate(self, x: Tensor) -> Tensor:
        """rho(x)."""
        return self.inner.compute(x)

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The inner activation's graph."""
        return self.inner.curve(x, inputs)


@register("poly_norm_glu")
class PolyNormGLU(PolyNorm):
    """A value gated by PolyNorm; the options are those of poly_norm."""

    formula = (
        r"v \left(a_0 + \sum_{i=1}^{r} a_i\, n(g^i)\right), \quad n(u) = \frac{u}{\sqrt{\overline{u^2} + \epsilon}}"
    )
    source = f"PolyNorm (Zhuo et al. 2025, arXiv 2411.03884) in the gate of a GLU ({SHAZEER})"
    gated = True

    def compute(self, gate: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        """PolyNorm(gate) * value, each (..., F)."""
        return super().compute(gate) * value

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """As poly_norm's, for the gate."""
        gate, value = inputs
        by_gate, *others = super().gradients([gate], grad * value)
        return by_gate, grad * super().compute(gate), *others
