"""What a fine-tuning moves, parameter by parameter; the rest stays as pre-training left it, to the last bit.

The modes are RAFT's (Fang et al. 2023), their biases BitFit's (Ben Zaken et al. 2022, arXiv 2106.10199).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actbench.config.schema import BertSection
from actbench.config.tuning import moves, random_biases
from actbench.data.keys import keyed_generator
from actbench.nn.bert import Bert, BertClassifier, Finetuned
from actbench.nn.build import activation_parameters, skeleton


@dataclass(frozen=True)
class Trained:
    """How many numbers a fine-tuning trains, and how many of them are not the new head's."""

    total: int
    without_head: int


def tune(model: Finetuned, mode: str, seed: int) -> Trained:
    """Lets those parameters of a new fine-tuning model learn that the mode names, and its head.

    All others need no gradient. Of random biases K entries are drawn by the seed, from all entries alike, and the
    gradients of the others are zero: without weight decay, which biases have none of, AdamW then leaves them alone.
    """
    parts = encoder_parts(model.encoder, pools=isinstance(model, BertClassifier))
    moving = [parameter for part in sorted(moves(mode)) for parameter in parts[part]]
    head = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.")]
    model.requires_grad_(False)
    for parameter in (*moving, *head):
        parameter.requires_grad_(True)
    drawn = random_biases(mode)
    if drawn is not None:
        _only_some(parts["bias"], drawn, seed)
    inner = count(moving) if drawn is None else drawn
    return Trained(inner + count(head), inner)


def encoder_parts(encoder: Bert, *, pools: bool) -> dict[str, list[nn.Parameter]]:
    """The parameters of a pre-trained encoder that fine-tuning uses, in order: "bias", "activation" and "weight".

    An activation's coefficients are none of the biases, whatever they are called. The language-model head has no part
    in it, and the pooler only where the task `pools`.
    """
    coefficients, unused = activation_parameters(encoder), ("head.",) if pools else ("head.", "pooler.")
    parts: dict[str, list[nn.Parameter]] = {"bias": [], "activation": [], "weight": []}
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad and not name.startswith(unused):
            part = "activation" if parameter in coefficients else "bias" if name.endswith(".bias") else "weight"
            parts[part].append(parameter)
    return parts


@functools.lru_cache  # a study asks for each of its many fine-tunings
def tunable(model: BertSection, *, pools: bool) -> dict[str, int]:
    """How many numbers each of an encoder's parts has but for its embeddings, without allocating them."""
    with torch.device("meta"):
        encoder = skeleton(model, vocab_size=1, length=1)
    assert isinstance(encoder, Bert)
    return {part: count(parameters) for part, parameters in encoder_parts(encoder, pools=pools).items()}


def count(parameters: list[nn.Parameter]) -> int:
    """How many numbers they are in all."""
    return sum(parameter.numel() for parameter in parameters)


def _only_some(parameters: list[nn.Parameter], drawn: int, seed: int) -> None:
    """Lets `drawn` entries of the parameters learn, and no other."""
    sizes = [parameter.numel() for parameter in parameters]
    chosen = torch.zeros(sum(sizes), dtype=torch.bool)
    chosen[torch.from_numpy(keyed_generator(seed, "random-bias").permutation(len(chosen))[:drawn])] = True
    for parameter, own in zip(parameters, chosen.split(sizes), strict=True):
        parameter.requires_grad_(bool(own.any()))
        if parameter.requires_grad:
            _keep_still(parameter, ~own.view_as(parameter))


def _keep_still(parameter: nn.Parameter, still: Tensor) -> None:
    parameter.register_hook(lambda gradient: gradient.masked_fill(still.to(gradient.device), 0.0))
