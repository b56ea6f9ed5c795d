"""Sequences of different lengths without their padding: what works token by token sees the real tokens alone.

Only attention needs sequences side by side, and those of similar length are enough: it takes a batch group by group. To
take padding away and to put it back are each a choice of rows, and the backward pass of the other: attention masks
padding out, so no gradient comes from there.

Shapes: B batch, T time, N real tokens of the batch; G sequences of a group, S the longest of them, n their real tokens;
H heads, M positions that attend; R rows: either sequences or tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from actbench.nn.dropout import Places

WORTH = 4096  # weights of one attention head that one more group must spare, for it adds some fifty calls a layer


class Rows(NamedTuple):
    """Whose rows are, where several models share a batch: the model of each (R,), and its number among the model's."""

    models: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> Rows:
        """So many rows of each model, one model after the other."""
        models = [torch.full((count,), model, device=device) for model, count in enumerate(counts)]
        return cls(torch.cat(models), torch.cat([torch.arange(n, dtype=torch.int32, device=device) for n in counts]))

    def named(self, within: Tensor, size: int) -> Places:
        """Names for elements (R, ...), of which every row has those of `within` (1, ...), numbers below `size`."""
        numbers = self.numbers.view(-1, *(1 for _ in within.shape[1:]))
        return Places(numbers * size + within, self.models)


class Padding:
    """Where the real tokens of a batch stand; in each sequence they come first.

    positions: (N,), the place of each token in its sequence. starts: (B,), where each sequence begins among the N.
    sequences, tokens: how many of each belong to each of the models that share the batch, one after the other.
    """

    def __init__(self, real: Tensor, length: int, models: Sequence[int] = ()):
        """`real` (B, T) is True at real tokens; `length` is the most that a sequence may have.

        `models` says how many sequences each of several models has.
        """
        lengths = real.sum(1)
        self.real, self._places = real, real.flatten().nonzero()[:, 0]
        self.positions = self._places % real.shape[1]
        self.starts = lengths.cumsum(0) - lengths
        self.sequences = tuple(models) or (len(real),)
        self.tokens = tuple(int(part.sum()) for part in lengths.split(self.sequences))
        sizes = group_sizes(lengths.tolist()) if real.device.type == "cpu" else [len(real)]
        rows = Rows.of(self.sequences, real.device)
        parts = zip(real.split(sizes), rows.models.split(sizes), rows.numbers.split(sizes), strict=True)
        self.groups = [Group(part, Rows(*named), length) for part, *named in parts]
        self._hidden: dict[torch.Size, Places] = {}

    def remove(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...). For what needs no gradient."""
        return x.flatten(0, 1)[self._places]

    def restore(self, x: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...), zero at padding."""
        padded = x.new_zeros(self.real.numel(), *x.shape[1:])
        return padded.index_copy(0, self._places, x).unflatten(0, self.real.shape)

    def split(self, x: Tensor) -> Iterator[tuple[Group, Tensor]]:
        """Every group and its part of x (N, ...)."""
        return zip(self.groups, x.split([len(group.places) for group in self.groups]), strict=True)

    def by_model(self, x: Tensor) -> tuple[Tensor, ...]:
        """Every model's part of x (R, ...)."""
        return x.split(self._counts(x))

    def hidden(self, x: Tensor) -> Places:
        """What the elements of hidden states (R, ...) are called: as if each model's were alone."""
        if x.shape not in self._hidden:
            size = x[0].numel()
            within = torch.arange(size, dtype=torch.int32, device=x.device).view(1, *x.shape[1:])
            self._hidden[x.shape] = Rows.of(self._counts(x), x.device).named(within, size)
        return self._hidden[x.shape]

    def _counts(self, x: Tensor) -> tuple[int, ...]:
        return self.tokens if len(x) == sum(self.tokens) else self.sequences


class Group:
    """Neighbours in a batch, padded to the longest of them.

    real: (G, S), True at real tokens. places: (n,), the place of each among the G * S. rows: (G, S), which of the n
    stands at a place; at padding, the first of them.
    """

    def __init__(self, real: Tensor, sequences: Rows, length: int):
        """Of sequences with real tokens where `real` (G, T) is True."""
        self.real = real[:, : int(real.sum(1).max())]
        flat = self.real.flatten()
        self.places = flat.nonzero()[:, 0]
        self.rows = torch.where(flat, flat.cumsum(0) - 1, 0).view(self.real.shape)
        self._sequences, self._length = sequences, length
        self._weights: dict[tuple[int, int], Places] = {}

    def remove(self, x: Tensor) -> Tensor:
        """(G, S, ...) -> (n, ...)."""
        return _Take.apply(x.flatten(0, 1), self.places, self.rows.flatten(), self.real.flatten())

    def restore(self, x: Tensor) -> Tensor:
        """(n, ...) -> (G, S, ...), something finite at padding. No gradient may come from there."""
        return _Take.apply(x, self.rows.flatten(), self.places, None).unflatten(0, self.rows.shape)

    def weights(self, heads: int, queries: int) -> Places:
        """What attention weights (G, H, M, S) are called: the same however far a batch is padded, and grouped."""
        if (heads, queries) not in self._weights:
            number = torch.arange(max(heads, *self.real.shape), dtype=torch.int32, device=self.real.device)
            head, query, key = number[:heads, None, None], number[:queries, None], number[: self.real.shape[1]]
            within = ((head * self._length + query) * self._length + key)[None]
            self._weights[heads, queries] = self._sequences.named(within, heads * self._length**2)
        return self._weights[heads, queries]


def group_sizes(lengths: Sequence[int]) -> list[int]:
    """How many sequences, of these lengths and in this order, each group has: a cut must spare WORTH weights a head."""
    n, longest = len(lengths), max(lengths)
    until = list(accumulate(lengths, max))
    after = list(accumulate(reversed(lengths), max))[::-1]
    spared = [n * longest**2 - i * until[i - 1] ** 2 - (n - i) * after[i] ** 2 for i in range(1, n)]
    if max(spared, default=0) < WORTH:
        return [n]
    cut = spared.index(max(spared)) + 1
    return [*group_sizes(lengths[:cut]), *group_sizes(lengths[cut:])]


class _Take(torch.autograd.Function):
    """The rows `rows` of x. Its gradient: the rows `back` of the output's, or zero where `real` is not True."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, back: Tensor, real: Tensor | None) -> Tensor:
        ctx.save_for_backward(back, real)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        back, real = ctx.saved_tensors
        taken = grad.index_select(0, back)
        if real is not None:
            taken.masked_fill_(~real.view(-1, *(1 for _ in taken.shape[1:])), 0)
        return taken, None, None, None
