"""Small models for the tests of models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actbench.config.schema import ActivationSpec, BertSection, GptSection

VOCABULARY, LENGTH = 101, 24
CLOSE = {"rtol": 0.0, "atol": 1e-5}


def act(name: str, **options: Any) -> ActivationSpec:
    return ActivationSpec(name=name, **options)


def bert_section(**changes: Any) -> BertSection:
    sizes: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 4, "d_ff": 64, "dropout": 0.0}
    return BertSection(family="bert", **{**sizes, **changes})


def gpt_section(**changes: Any) -> GptSection:
    sizes: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 4, "d_ff": 64, "dropout": 0.0}
    return GptSection(family="gpt", **{**sizes, **changes})


def randomized(model: Any, seed: int = 0) -> Any:
    """Every parameter drawn anew, norms and biases too, so that none can be forgotten unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.3 * noise + (0.5 if parameter.ndim < 2 else 0.0))
    return model.eval()


def ids(batch: int = 3, time: int = 17, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(seed))
