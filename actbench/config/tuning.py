"""Which parameters a fine-tuning moves, as settings say it: a mode's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from actbench.errors import nearest

FULL = "full"
# Every mode but random-bias:K, and what it moves besides the head: a model's biases, its activations' coefficients, and
# its other weights.
MOVES: Mapping[str, frozenset[str]] = {
    FULL: frozenset({"bias", "activation", "weight"}),
    "fixed-activation": frozenset({"bias", "weight"}),
    "bitfit": frozenset({"bias"}),
    "activation": frozenset({"activation"}),
    "bitfit+activation": frozenset({"bias", "activation"}),
    "head": frozenset(),
}
# Modes that speak of coefficients, and what moves the same in a model that has none.
WITHOUT_COEFFICIENTS: Mapping[str, str] = {
    "fixed-activation": FULL,
    "activation": "head",
    "bitfit+activation": "bitfit",
}
RANDOM_BIAS = re.compile(r"random-bias:([1-9][0-9]{0,17})")
EXAMPLE = "random-bias:117"  # RAFT's code


def moves(mode: str) -> frozenset[str]:
    """What a mode moves besides the head, of "bias", "activation" and "weight"; of random biases some."""
    return MOVES[mode] if mode in MOVES else frozenset({"bias"})


def random_biases(mode: str) -> int | None:
    """How many single biases a mode draws; None for one that draws none."""
    found = RANDOM_BIAS.fullmatch(mode)
    return None if found is None else int(found[1])


def _known(mode: str) -> str:
    if mode in MOVES or RANDOM_BIAS.fullmatch(mode):
        return mode
    if mode.partition(":")[0] == EXAMPLE.partition(":")[0]:
        raise ValueError(f"'{mode}' does not say how many biases (as in {EXAMPLE})")
    raise ValueError(f"no mode '{mode}' ({nearest(mode, [*MOVES, EXAMPLE])})")


TuneMode = Annotated[str, AfterValidator(_known)]
