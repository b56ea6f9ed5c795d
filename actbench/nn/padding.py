"""Sequences of different lengths without their padding: what works token by token works on the real tokens.

Only attention needs sequences side by side, and those of similar length are enough: it takes a batch group by group. To
take padding away and to put it back are each a choice of rows, and the backward pass of the other: attention masks
padding out, so no gradient comes from there.

A CPU's matrix products in bf16 are made for each shape that they meet, which takes longer than a small product itself,
and no two batches have as many tokens. So some rows may stand for no token, and groups are of few sizes and widths.

Shapes: B batch, T time, N rows: real tokens, then any that stand for none; G sequences of a group, S what they are
padded to, n their tokens; H heads, M positions that attend; R rows of either kind: sequences or tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from actbench.nn.dropout import Places

WORTH = 4096  # weights of one attention head that one more group must spare, for it adds some twenty calls a layer
GROUPED = 16  # a group has a multiple of so many sequences, but for a batch's last
WIDE = 8  # and is padded to a multiple of so many tokens
ROUND = 64  # a product's rows in bf16 on a CPU are a multiple of so many


class Rows(NamedTuple):
    """Whose rows are, where several models share a batch: the model of each (R,), and its number among the model's."""

    models: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> Rows:
        """So many rows of each model, one model after the other."""
        models = [torch.full((count,), model, device=device) for model, count in enumerate(counts)]
        return cls(torch.cat(models), torch.cat([torch.arange(n, dtype=torch.int32, device=device) for n in counts]))


class Weights(NamedTuple):
    """Attention weights (W, S), a row for each sequence, head and position that attends.

    real: (W,), how many keys of a row are real tokens. places: what weights are called, the same however far a batch
    is padded, and grouped.
    """

    real: Tensor
    places: Places


class Padding:
    """Where the real tokens of a batch stand; in each sequence they come first.

    positions: (N,), where in its sequence each row's token stands. starts: (B,), the row where each sequence begins.
    sequences, rows: how many of each belong to each of the models that share the batch, one after the other.
    """

    def __init__(self, real: Tensor, length: int, models: Sequence[int] = (), *, filled: bool = False):
        """`real` (B, T) is True at real tokens; `length` is the most that a sequence may have.

        `models` says how many sequences each of several models has. `filled`: with rows that stand for no token, so
        that few batches differ in how many they have; of one model alone.
        """
        lengths = real.sum(1)
        self.real, self.sequences = real, tuple(models) or (len(real),)
        self.starts = lengths.cumsum(0) - lengths
        tokens = [int(part.sum()) for part in lengths.split(self.sequences)]
        self._n = sum(tokens)
        spare = -self._n % ROUND if filled and len(tokens) == 1 else 0
        self.rows = (tokens[0] + spare, *tokens[1:])
        self._at = F.pad(real.flatten().nonzero()[:, 0], (0, spare))  # of each row its place in the padded batch
        self.positions = self._at % real.shape[1]
        sizes = group_sizes(lengths.tolist()) if real.device.type == "cpu" else [len(real)]
        whose = Rows.of(self.sequences, real.device)
        each = zip(lengths.split(sizes), whose.models.split(sizes), whose.numbers.split(sizes), strict=True)
        self.groups = [Group(own, Rows(owners, numbers), length) for own, owners, numbers in each]
        self._parts = [*(len(group.tokens) for group in self.groups), spare]  # rows
        self._hidden: dict[torch.Size, Places] = {}

    def remove(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...). For what needs no gradient."""
        return x.flatten(0, 1)[self._at]

    def restore(self, x: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...), zero at padding."""
        padded = x.new_zeros(self.real.numel(), *x.shape[1:])
        return padded.index_copy(0, self._at[: self._n], x[: self._n]).unflatten(0, self.real.shape)

    def split(self, x: Tensor) -> Iterator[tuple[Group, Tensor]]:
        """Every group and its rows of x (N, ...)."""
        return zip(self.groups, x.split(self._parts), strict=False)  # what is left stands for no token

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Every group's rows -> (N, ...), zero where a row stands for no token."""
        return torch.cat([*parts, parts[0].new_zeros(self._parts[-1], *parts[0].shape[1:])])

    def by_model(self, x: Tensor) -> tuple[Tensor, ...]:
        """Every model's part of x (R, ...)."""
        return x.split(self._counts(x))

    def hidden(self, x: Tensor) -> Places:
        """What the elements of hidden states (R, ...) are called: as if each model's were alone."""
        if x.shape not in self._hidden:
            rows = Rows.of(self._counts(x), x.device)
            self._hidden[x.shape] = Places(rows.numbers * x[0].numel(), rows.models)
        return self._hidden[x.shape]

    def _counts(self, x: Tensor) -> tuple[int, ...]:
        return self.rows if len(x) == sum(self.rows) else self.sequences


class Group:
    """Neighbours in a batch, padded alike; perhaps to more tokens than a sequence of the model may have.

    real: (G, S), True at real tokens. tokens: (n,), where in the group each of its n rows stands.
    """

    def __init__(self, lengths: Tensor, sequences: Rows, length: int):
        """Of sequences of these lengths (G,)."""
        wide = -(-int(lengths.max()) // WIDE) * WIDE
        column = torch.arange(wide, device=lengths.device)
        self.real = column < lengths[:, None]
        self.tokens = self.real.flatten().nonzero()[:, 0]
        starts = lengths.cumsum(0) - lengths
        self._rows = (starts[:, None] + torch.where(self.real, column, 0)).flatten()  # at padding, of a first token
        self._lengths, self._sequences, self._length = lengths.int(), sequences, length
        self._weights: dict[tuple[int, int], Weights] = {}

    def pad(self, x: Tensor) -> Tensor:
        """(n, ...) -> (G, S, ...), something finite at padding. No gradient may come from there."""
        return _Take.apply(x, self._rows, self.tokens, None).unflatten(0, self.real.shape)

    def remove(self, x: Tensor) -> Tensor:
        """(G, S, ...) -> (n, ...)."""
        return _Take.apply(x.flatten(0, 1), self.tokens, self._rows, self.real)

    def weights(self, heads: int, queries: int) -> Weights:
        """Of attention weights (G, H, M, S)."""
        if (heads, queries) not in self._weights:
            number = torch.arange(max(heads, queries), dtype=torch.int32, device=self.real.device)
            sequence = self._sequences.numbers[:, None, None] * heads + number[:heads, None]
            first = (sequence * self._length + number[:queries]) * self._length
            real, models = (x.repeat_interleave(heads * queries) for x in (self._lengths, self._sequences.models))
            self._weights[heads, queries] = Weights(real, Places(first.flatten(), models))
        return self._weights[heads, queries]


def group_sizes(lengths: Sequence[int]) -> list[int]:
    """How many sequences, of these lengths and in this order, each group has: a cut must spare WORTH weights a head."""
    n, longest = len(lengths), max(lengths)
    until = list(accumulate(lengths, max))
    after = list(accumulate(reversed(lengths), max))[::-1]
    cuts = range(GROUPED, n, GROUPED)
    spared = [n * longest**2 - i * until[i - 1] ** 2 - (n - i) * after[i] ** 2 for i in cuts]
    if max(spared, default=0) < WORTH:
        return [n]
    cut = cuts[spared.index(max(spared))]
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
