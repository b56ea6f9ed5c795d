"""Dropout whose mask is a pure function of (seed, step, place in the model, element).

A pair of runs must drop the same elements, and a resumed run the same as one that never stopped. Masks from a
generator cannot promise either: whoever else draws from it shifts them. Here each element's fate is a hash of its index
and a key, so there is no state to save, eager and compiled code agree, and the compiler can vectorise it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


def _signed(word: int) -> int:
    """A 32-bit word as the int32 that has its bits: torch has no arithmetic on uint32."""
    return word - (1 << 32) if word >= 1 << 31 else word


# Multipliers of the 32-bit mixing function "lowbias32" (C. Wellons, hash-prospector, 2018).
_FIRST, _SECOND = _signed(0x7FEB352D), _signed(0x846CA68B)


class Places(NamedTuple):
    """What the elements of a tensor of R rows are called: `first` (R,), int32, are the names of each row's first ones.

    The others of a row count on from there. `models` (R,) tells which of several models each row belongs to.
    """

    first: Tensor
    models: Tensor


class Dropout(nn.Module):
    """Zeroes each element with probability `p` and divides the others by 1 - p, in training.

    `set_keys` gives every Dropout of a model its key before each step.
    """

    key: Tensor

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.part = 0  # which of the equal parts of a batch it sees: elements are numbered as in all of the batch
        self.register_buffer("key", torch.zeros((), dtype=torch.int32), persistent=False)

    @property
    def active(self) -> bool:
        """Whether a call now would drop anything."""
        return self.training and self.p > 0

    def forward(self, x: Tensor, places: Places | None = None) -> Tensor:
        """(...) -> (...), or (R, ...) with `places`. Without, elements are numbered in their order."""
        if not self.active:
            return x
        if torch.compiler.is_compiling():
            return _DropTwice.apply(x, self.key, self.p, self.part, None if places is None else places.first)
        return _drop(x, self._keyed(x, places), self.p)

    def _keyed(self, x: Tensor, places: Places | None) -> Tensor:
        return _named(x, self.part, None if places is None else places.first).bitwise_xor_(self.key)


def set_keys(model: nn.Module, seed: int, step: int) -> None:
    """Keys every Dropout in `model` by (seed, step, its name). `step` counts micro-batches from the run's start."""
    for name, module in model.named_modules():
        if isinstance(module, Dropout):
            digest = hashlib.blake2b(f"{seed}/{step}/{name}".encode(), digest_size=4).digest()
            module.key.fill_(int.from_bytes(digest, "little", signed=True))


def set_part(model: nn.Module, part: int) -> None:
    """Has every Dropout in `model` drop as in part number `part` of a batch whose parts are of equal size."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.part = part


class _DropTwice(torch.autograd.Function):
    """Drops elements, and works out anew which ones in the backward pass.

    For compiled code alone, where the hash is next to free and a mask that is kept is not: on a CPU, writing it takes
    ten times as long as all the rest (torch 2.13). The compiler would keep it all the same where it sees that both
    passes compute one thing; so the second begins with its operands the other way round.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, key: Tensor, p: float, part: int, first: Tensor | None) -> Tensor:
        ctx.save_for_backward(key, first)
        ctx.p, ctx.part = p, part
        return _drop(x, _named(x, part, first) ^ key, p)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        key, first = ctx.saved_tensors
        return _drop(grad, key ^ _named(grad, ctx.part, first), ctx.p), None, None, None, None


def _drop(x: Tensor, keyed: Tensor, p: float) -> Tensor:
    keep = _hash(keyed) >= _threshold(p)
    return torch.where(keep.view(x.shape), x * (1 / (1 - p)), 0)


def _named(x: Tensor, part: int, first: Tensor | None) -> Tensor:
    """The names of x's elements: by their order in all of a batch, or row by row from these on, (R, elements)."""
    if first is not None:
        return first[:, None] + torch.arange(math.prod(x.shape[1:]), dtype=torch.int32, device=x.device)
    count = math.prod(x.shape)
    index = torch.arange(count, dtype=torch.int32, device=x.device)
    return index + _signed(part * count & 0xFFFFFFFF) if part else index


def _hash(h: Tensor) -> Tensor:
    """Makes of int32s, in place, ones that look uniform over all int32. Shifts of int32 keep the sign, hence the masks.

    In place, since fresh memory for each of a dozen operations took most of the time where nothing is compiled.
    """
    shifted = h >> 16
    h.bitwise_xor_(shifted.bitwise_and_(0xFFFF)).mul_(_FIRST)
    torch.bitwise_right_shift(h, 15, out=shifted)
    h.bitwise_xor_(shifted.bitwise_and_(0x1FFFF)).mul_(_SECOND)
    torch.bitwise_right_shift(h, 16, out=shifted)
    return h.bitwise_xor_(shifted.bitwise_and_(0xFFFF))


def _threshold(p: float) -> int:
    """The int32 below which a share `p` of all int32 lies."""
    return int(p * 2**32) - 2**31
