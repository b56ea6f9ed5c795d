"""What a recipe says about a mixture of experts."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from actbench.config.section import NonNegativeFloat, Positive, Section


class MoeSection(Section):
    """Experts in the place of every feed-forward block, as OLMoE (Muennighoff et al. 2024, arXiv 2409.02060).

    A router gives every token its `top_k` experts, and none is dropped. `d_expert` is the width of an expert with GELU;
    with another activation it is matched as `ffn_width` says.
    """

    experts: Positive = 64
    top_k: Positive = 8  # experts of a token
    d_expert: Positive
    load_balance: NonNegativeFloat = 0.01  # weight of the loss that evens out the experts' load
    load_balance_over: Literal["step", "micro_batch"] = "step"  # the tokens whose load that loss evens out
    router_z: NonNegativeFloat = 0.001  # weight of the loss that keeps the router's logits small
    normalize_top_k: bool = False  # whether the weights of a token's experts are made to sum to 1; OLMoE: no
    activation_sharing: Literal["layer", "expert"] = "layer"  # what has one set of coefficients; PolyCom: a layer

    @model_validator(mode="after")
    def _enough_experts(self) -> MoeSection:
        if self.top_k > self.experts:
            raise ValueError(f"top_k ({self.top_k}) must be at most experts ({self.experts})")
        return self
