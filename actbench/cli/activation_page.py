"""What `actbench activations show` prints, fitted to the terminal's width."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from actbench.cli.braille import draw

if TYPE_CHECKING:
    from actbench.activations.describe import Coefficients, Description

ROWS, WIDEST, INDENT = 12, 72, 14
SHOWN = 6  # starting values of one parameter


def page(facts: Description, x: list[float], y: list[float]) -> str:
    """The facts, the curve through the points, and what a recipe can set: plain text, without colours."""
    columns = min(WIDEST, shutil.get_terminal_size().columns)
    head = [facts.name + (f", from {facts.distribution}" if facts.distribution else ""), *_wrap(facts.about, columns)]
    finite = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
    picture = draw(finite, columns, ROWS) if len(finite) > 1 else ["its curve is nowhere finite"]
    lines = [_line(name, text, columns) for name, text in _facts(facts)]
    return "\n".join([*head, "", *picture, "", *lines])


def _facts(facts: Description) -> Iterator[tuple[str, str]]:
    yield "formula", facts.formula or "-"
    yield "source", facts.source or "-"
    yield "inputs", ("a gate and a value" if facts.gated else "one") + (", whole rows" if facts.whole_row else "")
    yield "cost", f"{facts.flops_per_element:g} FLOPs an element"
    for parameter in facts.coefficients:
        yield "learns", _start(parameter)
    if facts.coefficients:
        yield "trained with", f"weight decay {facts.weight_decay:g}, {facts.lr_multiplier:g} x the learning rate"
    for option in facts.options:
        yield "option", f"{option.name} = {option.default} ({option.allowed})"


def _start(parameter: Coefficients) -> str:
    symbol = f" ({parameter.symbol})" if parameter.symbol else ""
    values = [f"{value:.6g}" for value in parameter.start]
    more = [f"... ({len(values)} values)"] if len(values) > SHOWN else []
    return f"{parameter.name}{symbol}, at first {', '.join(values[:SHOWN] + more)}"


def _line(name: str, text: str, columns: int) -> str:
    if columns > 3 * INDENT:
        return "\n".join(_wrap(text, columns, name.ljust(INDENT), " " * INDENT))
    return "\n".join(_wrap(text, columns, f"{name}: ", "  "))


def _wrap(text: str, columns: int, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
