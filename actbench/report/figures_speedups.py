"""Speed-ups as a figure: losses against tokens, seconds and FLOPs, down to the baseline's final loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actbench.analysis.cohorts import Cohort, Variant
from actbench.analysis.speedups import SPENT, Kind, Speedup, Spent, curve_of
from actbench.report.figure_style import colours, figure_format, save, style
from actbench.report.line_panels import Line, LinePanel, line_figure
from actbench.report.speedup_table import CALLED

SETTLED = 0.2  # what comes before this share of the training is not drawn: it would flatten all differences


def plot_speedups(found: Sequence[Speedup], path: Path, kind: Kind = "validation") -> None:
    """Draws a row a model: the mean loss of every variant, seeds in a band, and the baseline's final loss, dashed.

    Raises BadInput for a suffix other than svg, png or pdf.
    """
    figure_format(path)
    models = {id(one.cohort): one.cohort for one in found}.values()
    panels = []
    for cohort in models:
        own = [one for one in found if one.cohort is cohort]
        variants = [own[0].baseline, *{one.variant.label: one.variant for one in own}.values()]
        colour_of = colours((variant.label, variant.first.activation) for variant in variants)
        panels += [_panel(cohort, variants, spent, colour_of, kind) for spent in SPENT]
    with style():
        save(line_figure(panels, len(SPENT)), path)


def _panel(
    cohort: Cohort, variants: Sequence[Variant], spent: Spent, colour_of: dict[str, str], kind: Kind
) -> LinePanel:
    lines = [_line(variant, spent, colour_of[variant.label], kind) for variant in variants]
    final = float(np.mean([curve_of(run, spent, kind).loss[-1] for run in variants[0].runs.values()]))
    return LinePanel(
        cohort.name, CALLED[spent], "loss (nats a token)", lines, marks=[(final, colour_of[variants[0].label])]
    )


def _line(variant: Variant, spent: Spent, colour: str, kind: Kind) -> Line:
    curves = [curve_of(run, spent, kind) for run in variant.runs.values()]
    start, end = max(curve.spent[0] for curve in curves), min(curve.spent[-1] for curve in curves)
    first = curves[0].spent
    grid: NDArray[np.float64] = first[(first >= max(start, SETTLED * end)) & (first <= end)]
    losses = np.stack([np.interp(grid, curve.spent, curve.loss) for curve in curves])
    band = (losses.min(0), losses.max(0)) if len(curves) > 1 else None
    return Line(variant.label, colour, grid, losses.mean(0), band)
