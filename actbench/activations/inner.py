"""Activations made of another one: its module, and what the outer one takes over from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actbench.activations.base import Activation
from actbench.activations.registry import code_hash, create
from actbench.errors import BadInput


def inner_activation(
    name: str, options: Mapping[str, Any] | None = None, width: int | None = None, key: str = "inner"
) -> Activation:
    """The activation that the option `key` names, for inputs (..., width), if it takes one input. Raises ValueError."""
    try:
        inner = create(name, width=width, **(options or {}))
    except BadInput as error:
        raise ValueError(f"{key}: {error}") from None
    if code_hash(name) is not None:
        raise ValueError(
            f"{key}: '{name}' does not ship with actbench, and a run keeps the code of a slot's activation alone: "
            "write the whole function as one activation of your own"
        )
    if inner.gated:
        raise ValueError(f"{key}: '{name}' is gated; it must be a function of one input")
    return inner


def adopt(outer: Activation, inner: Activation) -> None:
    """Makes `inner` a part of `outer`: its parameters with their symbols, and whether it looks at whole rows."""
    outer.inner = inner
    outer.whole_row = inner.whole_row  # type: ignore[misc]  # here it depends on an option
    outer.symbols = {  # type: ignore[misc]
        **outer.symbols,
        **{f"inner.{parameter}": symbol for parameter, symbol in inner.symbols.items()},
    }
