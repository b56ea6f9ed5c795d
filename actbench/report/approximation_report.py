"""How fast networks come near smooth functions: error against parameters, and the fitted slopes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actbench.analysis.approximation import EXACT, TARGETS, Fit, Rate, piecewise_bound
from actbench.config.placement import short_name
from actbench.report import numbers
from actbench.report.figure_style import MUTED, colours, figure_format, save, style
from actbench.report.line_panels import Line, LinePanel, line_figure
from actbench.report.table import Row, Table, columns

SLOPE_DIGITS = 2
BOUND = "the best with relu's pieces"


def plot_approximation(found: Sequence[Fit], path: Path) -> None:
    """Draws a panel a target: the median over seeds of the largest error, seeds in a band, both axes logarithmic.

    Raises BadInput for a suffix other than svg, png or pdf.
    """
    figure_format(path)
    names = list(dict.fromkeys(one.activation for one in found))
    colour_of = colours((short_name(name), name) for name in names)
    panels = []
    for target in dict.fromkeys(one.target for one in found):
        lines = []
        for name in names:
            own = [one for one in found if one.target == target and one.activation == name]
            if not own:  # not fitted yet
                continue
            errors = np.array([list(one.largest.values()) for one in own]).clip(EXACT)
            x = np.array([one.parameters for one in own], dtype=float)
            band = (errors.min(1), errors.max(1))
            lines.append(Line(short_name(name), colour_of[short_name(name)], x, np.median(errors, 1), band))
            if target == "square" and name == "relu":
                bound = np.array([piecewise_bound(one.width + 1) for one in own])
                lines.append(Line(BOUND, MUTED, x, bound, style=":"))
        panels.append(LinePanel(f"{target}: {TARGETS[target].formula}", "parameters", "largest error", lines, log="xy"))
    with style():
        save(line_figure(panels), path)


def rates_table(found: Sequence[Rate]) -> Table:
    """A row a target and activation: the slope, and from how many parameters on the target is represented exactly."""
    heads = (
        *columns("target", "activation"),
        *columns("seeds", "slope of log error [95 %]", "least exact (parameters)", numeric=True),
    )
    rows = []
    for one in found:
        slope = one.slope
        exact = numbers.NOTHING if one.exact_from is None else str(one.exact_from)
        cells = (
            one.target,
            short_name(one.activation),
            str(slope.n),
            numbers.difference_and_interval(slope, SLOPE_DIGITS),
            exact,
        )
        values = {
            "target": one.target,
            "activation": one.activation,
            "seeds": slope.n,
            "slope": slope.mean,
            "slope_interval_95": list(slope.interval) if slope.interval else None,
            "slopes": {str(seed): value for seed, value in one.slopes.items()},
            "exact_from": one.exact_from,
        }
        rows.append(Row(cells, values, ()))
    notes = (
        "Slope: largest error ~ parameters^slope, fitted for each seed over the sizes; mean and t-interval over seeds.",
        f"Exact: the median largest error is at most {EXACT:g}. What is left is the optimiser's, so errors that small "
        "have no part in a slope.",
    )
    return Table(
        "Fits of smooth functions: how fast the error falls with the parameters",
        heads,
        tuple(rows),
        notes,
        "approximation-rates",
    )


def errors_table(found: Sequence[Fit]) -> Table:
    """A row a target, activation and size: medians over seeds of both errors."""
    heads = (
        *columns("target", "activation"),
        *columns("size", "width", "parameters", "seeds", "rms error", "largest error", numeric=True),
    )
    rows = []
    for one in found:
        rms, largest = (float(np.median(list(errors.values()))) for errors in (one.rms, one.largest))
        counts = (str(one.size), str(one.width), str(one.parameters), str(len(one.rms)))
        values = {
            "target": one.target,
            "activation": one.activation,
            "size": one.size,
            "width": one.width,
            "parameters": one.parameters,
            "rms": {str(seed): value for seed, value in one.rms.items()},
            "largest": {str(seed): value for seed, value in one.largest.items()},
        }
        cells = (one.target, short_name(one.activation), *counts, f"{rms:.2e}", f"{largest:.2e}")
        rows.append(Row(cells, values, ()))
    return Table("Fits of smooth functions: errors, medians over seeds", heads, tuple(rows), (), "approximation")
