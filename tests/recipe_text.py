"""A good recipe, and what the tests of recipes do to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actbench.config import load_recipe
from actbench.errors import BadInput, Problem

Write = Callable[..., Path]  # the fixture `write`: a text into a file of the working folder

GOOD = """\
name: good
seed: 0
model:
  family: bert
  n_layers: 2
  d_model: 16
  n_heads: 2
  d_ff: 32
  activation: {name: raf, init: relu}
corpus:
  source: builtin
tokenizer:
  vocab_size: 512
batch:
  sequences: 8
budget:
  steps: 10
optimizer:
  lr: 1e-3
"""


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def problems(path: Path, *overrides: str) -> list[Problem]:
    with pytest.raises(BadInput) as caught:
        load_recipe(path, overrides)
    return caught.value.problems


def the_problem(path: Path, *overrides: str) -> Problem:
    found = problems(path, *overrides)
    assert len(found) == 1, found
    return found[0]
