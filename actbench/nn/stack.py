"""Several models of one shape, worked out together: what has weights is called model by model, all else once for all.

A small model spends most of its time on the way from one small operation to the next. Side by side, K models take that
way once. None sees another: each keeps its own weights, its own dropout and its own rows.

Shapes: B sequences of all models, T time, N rows of all models' batches without padding, C outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.activations import Activation
from actbench.nn.bert import Finetuned
from actbench.nn.dropout import Dropout, Places, _named
from actbench.nn.padding import Padding


class Stack(nn.Module):
    """K models with their heads, each with a batch of its own."""

    def __init__(self, models: Sequence[Finetuned]):
        super().__init__()
        self.models = nn.ModuleList(models)
        self._rows, self._length = _Rows(), models[0].encoder.positions.num_embeddings
        self.joint: Finetuned = models[0] if len(models) == 1 else _together(models, self._rows)

    def forward(self, batches: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, ...]:
        """The models' batches, each with `tokens`, `segments` and `attention` as theirs, -> their outputs.

        Batches may differ in length and number of sequences.
        """
        longest = max(batch["tokens"].shape[1] for batch in batches)
        tokens, segments, real = (
            torch.cat([F.pad(batch[key], (0, longest - batch[key].shape[1])) for batch in batches])
            for key in ("tokens", "segments", "attention")
        )
        padding = Padding(real, self._length, [len(batch["tokens"]) for batch in batches], filled=True)
        self._rows.padding = padding
        return self.joint(tokens, segments, padding).split(padding.sequences)


class _Rows:
    """Which rows of the batch at hand are whose; all parts of a stack look here."""

    padding: Padding


class _EachItsOwn(nn.Module):
    """What has weights, in K models: each is called with the rows that are its model's."""

    def __init__(self, members: Sequence[nn.Module], rows: _Rows):
        super().__init__()
        self.members, self._rows = nn.ModuleList(members), rows

    def forward(self, *inputs: Tensor) -> Tensor:
        """As each member's."""
        parts = zip(*(self._rows.padding.by_model(x) for x in inputs), strict=True)
        return torch.cat([member(*part) for member, part in zip(self.members, parts, strict=True)])


class _JointDropout(Dropout):
    """The dropout of K models in one: each element falls as it would in its own model."""

    def __init__(self, members: Sequence[Dropout], rows: _Rows):
        super().__init__(members[0].p)
        self._members, self._rows = tuple(members), rows  # a tuple: they are parts of their models alone
        self.train(members[0].training)

    def _keyed(self, x: Tensor, places: Places | None) -> Tensor:
        first, models = places or self._rows.padding.hidden(x)
        keys = torch.stack([member.key for member in self._members])[models]
        return _named(x, self.part, first).bitwise_xor_(keys[:, None])


def _together(modules: Sequence[Any], rows: _Rows) -> Any:
    """A module in the place of all of these, which are the same part of K models."""
    first = modules[0]
    if isinstance(first, Dropout):
        return _JointDropout(modules, rows)
    if next(first.parameters(recurse=isinstance(first, Activation)), None) is not None:
        return _EachItsOwn(modules, rows)
    joint = copy.copy(first)
    joint._modules = {
        name: None if part is None else _together([module._modules[name] for module in modules], rows)
        for name, part in first._modules.items()
    }
    return joint
