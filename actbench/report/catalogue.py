"""The catalogue of activations in the docs, written from the registry: `python -m actbench.report.catalogue docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from actbench.activations import available, distribution
from actbench.activations.describe import REACH, Coefficients, Description, Option, describe, graph, made
from actbench.report.figure_style import hide_spines, save, style
from actbench.store.atomic import replacing

PAGE, FIGURES = "activations.md", "figures/activations"
NEUTRAL, CURVE = "#808080", "#3b82f6"  # both stand out on white and on black
SIZE = (3.6, 2.4)  # inches
SHOWN = 8  # starting values of one parameter
INTRODUCTION = """# The activations

<!-- Written by `make docs` from the code. Change the code, not this page. -->

A recipe names one as `model.activation.name`, with its options beside the name. `actbench activations show NAME` prints
what stands here, for any options and for [your own activation](your-own-activation.md) too; `actbench activations check
NAME` tests it.

- *learns*: how many coefficients it has, with its default options. They are those of a layer; with `sharing: channel`,
  where there is such an option, each channel of a block has its own.
- *FLOPs*: arithmetic operations of the forward pass for each element of the output. Additions, multiplications,
  divisions, comparisons, exponentials and the like count one each, however long they take on a machine; fused functions
  count as what they are made of.
- *gated*: it receives two projections of a block's input, a gate $g$ and a value $v$. Its curve is what the gate makes
  of a value of one.
- *whole row*: an element's output depends on its whole row. Its curve is that of a row of standard normal numbers.

Weight decay and learning rate are those of the coefficients where a recipe says nothing; a learning rate x 1 is the
model's own."""


def write(folder: Path) -> list[Path]:
    """Writes the page and a figure for each activation into the docs folder; returns the files written."""
    facts = catalogue()
    figures = [folder / FIGURES / f"{one.name}.svg" for one in facts]
    for one, path in zip(facts, figures, strict=True):
        draw(one.name, path)
    with replacing(folder / PAGE) as temporary:
        temporary.write_text(page(facts), encoding="utf-8")
    return [folder / PAGE, *figures]


def catalogue() -> list[Description]:
    """All activations that ship with actbench: the families that learn nothing first, each in its members' order."""
    facts = [describe(name) for name in available() if distribution(name) is None]
    least = {one.family: min(other.count for other in facts if other.family == one.family) for one in facts}
    return sorted(facts, key=lambda one: (least[one.family] > 0, one.family, one.name))


def page(facts: Sequence[Description]) -> str:
    """The whole page, in Markdown."""
    families = [(family, list(members)) for family, members in groupby(facts, key=lambda one: one.family)]
    table = [
        "| activation | family | learns | FLOPs | gated | whole row | source |",
        "|---|---|---:|---:|---|---|---|",
        *(_row(one) for one in facts),
    ]
    sections = [text for family, members in families for text in (f"## {family}", *map(_section, members))]
    return "\n\n".join([INTRODUCTION, "\n".join(table), *sections]) + "\n"


def draw(name: str, path: Path) -> None:
    """The activation's graph on [-4, 4], legible on a light and on a dark page."""
    x, y = graph(made(name, {}))
    with style():
        figure = Figure(figsize=SIZE, facecolor="none", layout="constrained")
        axes = figure.add_subplot(facecolor="none")
        axes.grid(color=NEUTRAL, alpha=0.25)
        axes.axhline(0, color=NEUTRAL, linewidth=0.8)
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        axes.plot(x.numpy(), y.numpy(), color=CURVE, linewidth=1.8)
        axes.set_xlim(-REACH, REACH)
        axes.locator_params(nbins=5)
        axes.tick_params(length=0, labelcolor=NEUTRAL)
        hide_spines(axes, "left", "bottom")
        save(figure, path)


def _row(one: Description) -> str:
    cells = [f"[`{one.name}`](#{one.name})", one.family, str(one.count or "-"), f"{one.flops_per_element:g}"]
    return f"| {' | '.join([*cells, _tick(one.gated), _tick(one.whole_row), one.citation])} |"


def _tick(yes: bool) -> str:
    return "yes" if yes else ""


def _section(one: Description) -> str:
    parts = [f"### {one.name}", one.about, f"$$\n{one.formula}\n$$", f"![{one.name}]({FIGURES}/{one.name}.svg)"]
    kind = [*(["gated"] if one.gated else []), *(["whole row"] if one.whole_row else [])]
    facts = [f"{one.flops_per_element:g} FLOPs an element", *kind]
    if one.coefficients:
        facts += [f"weight decay {one.weight_decay:g}", f"learning rate x {one.lr_multiplier:g}"]
        parts.append(_table(("learns", "in the formula", "starts at"), map(_coefficients, one.coefficients)))
    if one.options:
        parts.append(_table(("option", "default", "may be"), map(_option, one.options)))
    parts.append(f"{', '.join(facts)}. {_linked(one.source)}.")
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _coefficients(parameter: Coefficients) -> Sequence[str]:
    values = [f"{value:.4g}" for value in parameter.start]
    shown = values if len(values) <= SHOWN else [*values[: SHOWN - 1], "...", values[-1]]
    return f"`{parameter.name}`", f"${parameter.symbol}$" if parameter.symbol else "", ", ".join(shown)


def _option(option: Option) -> Sequence[str]:
    return f"`{option.name}`", f"`{option.default}`", option.allowed


def _linked(source: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", source)


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
