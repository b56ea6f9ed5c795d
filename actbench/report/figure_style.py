"""What all figures share: type, colours that colour-blind readers tell apart, files stable to the byte.

Figures are built from matplotlib's objects; nothing here or in the figures touches pyplot's global state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.style import context

from actbench.errors import BadInput, Problem, nearest
from actbench.store.atomic import replacing

# Metadata that would change with the clock or the library's version, by format. None removes an entry.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}
MOVING = "gif"
# After Okabe & Ito (2008) and the muted scheme of Tol (2021). The usual baseline is the neutral one.
KNOWN_COLOURS = {
    "gelu": "#222222",
    "raf": "#d55e00",
    "poly_norm": "#0072b2",
    "poly_relu": "#009e73",
    "swiglu": "#cc79a7",
    "silu": "#e69f00",
    "relu": "#56b4e9",
    "geglu": "#882255",
    "reglu": "#999933",
    "relu2": "#44aa99",
    "xielu": "#aa4499",
    "splash": "#117733",
    "prelu": "#332288",
    "swish_beta": "#b8963e",
}
PALETTE = tuple(KNOWN_COLOURS.values())
MUTED = "#6b6b6b"
# Light to dark, without viridis's yellow, which is lost on white.
PROGRESS = LinearSegmentedColormap.from_list("progress", colormaps["viridis_r"](np.linspace(0.14, 1.0, 64)))
DISTANCE = colormaps["Blues"]
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.color": "#8a8a8a",
    "ytick.color": "#8a8a8a",
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.markersize": 3.6,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 160,
    "svg.hashsalt": "actbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The settings a figure is built and saved under."""
    with context(["default", STYLE]):  # whatever a user's own matplotlibrc says
        yield


def figure_format(path: Path, *, moving: bool = False) -> str:
    """The format that the path's suffix names. Raises BadInput for any but svg, png, pdf and, of what moves, gif."""
    suffix, known = path.suffix.removeprefix(".").lower(), [*METADATA, *([MOVING] if moving else [])]
    if suffix in known:
        return suffix
    problem = f"cannot draw a '.{suffix}' file" if suffix else "the file's suffix must name a format"
    raise BadInput(Problem(problem, where=str(path), hint=nearest(suffix, known)))


def save(figure: Figure, path: Path) -> None:
    """Writes the figure in its suffix's format, atomically; the same figure gives the same bytes."""
    format_ = figure_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=format_, metadata=METADATA[format_])


def colours(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A colour for each (label, activation): the activation's own for its first label, then unused ones."""
    chosen: dict[str, str] = {}
    waiting = []
    for label, activation in sorted(set(names), key=lambda pair: (len(pair[0]), pair)):
        colour = KNOWN_COLOURS.get(activation)
        if colour is None or colour in chosen.values():
            waiting.append(label)
        else:
            chosen[label] = colour
    for index, label in enumerate(waiting):
        unused = [colour for colour in PALETTE if colour not in chosen.values()]
        chosen[label] = unused[0] if unused else PALETTE[index % len(PALETTE)]
    return chosen


def shades(colour: str, count: int) -> list[str]:
    """The colour itself and lighter ones after it, for lines of one activation."""
    red, green, blue = to_rgb(colour)
    mixes = [0.62 * index / max(1, count - 1) for index in range(count)]
    return [to_hex((red + (1 - red) * m, green + (1 - green) * m, blue + (1 - blue) * m)) for m in mixes]


def progress_colours(count: int) -> list[str]:
    """Colours from light to dark, for what stands in an order: layers, or steps of training."""
    return [to_hex(PROGRESS(share)) for share in (index / max(1, count - 1) for index in range(count))]


def hide_spines(axes: Axes, *sides: str) -> None:
    """Removes the frame's named sides and keeps the rest."""
    for side in sides:
        axes.spines[side].set_visible(False)


def panels_per_row(count: int) -> int:
    """How many of so many equal panels stand in a row."""
    return 3 if count in (5, 6, 9) else min(4, count)
