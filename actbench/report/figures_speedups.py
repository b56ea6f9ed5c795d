"""Speed-ups as a figure: losses against tokens, seconds and FLOPs, down to the baseline's final loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from actbench.analysis.speedups import SPENT, Curve, Kind, Speedup, Spent, curves_of
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
        curves = {variant.label: [curves_of(run, kind) for run in variant.runs.values()] for variant in variants}
        for spent in SPENT:
            of_each = {label: [one[spent] for one in each] for label, each in curves.items()}
            panels.append(_panel(cohort.name, spent, of_each, colour_of))
    with style():
        save(line_figure(panels, len(SPENT)), path)


def _panel(model: str, spent: Spent, curves: Mapping[str, Sequence[Curve]], colour_of: Mapping[str, str]) -> LinePanel:
    """The baseline's curves are the first."""
    lines = [mean_line(label, each, colour_of[label]) for label, each in curves.items()]
    baseline = lines[0].label
    final = float(np.mean([curve.loss[-1] for curve in curves[baseline]]))
    return LinePanel(model, CALLED[spent], "loss (nats a token)", lines, marks=[(final, colour_of[baseline])])


def mean_line(label: str, curves: Sequence[Curve], colour: str) -> Line:
    """The mean of a variant's seeds, in a band, from where the last of them begins to where the first ends."""
    start, end = max(curve.spent[0] for curve in curves), min(curve.spent[-1] for curve in curves)
    logged = np.unique(np.concatenate([curve.spent for curve in curves]))
    grid = logged[(logged >= max(start, SETTLED * end)) & (logged <= end)]
    losses = np.stack([np.interp(grid, curve.spent, curve.loss) for curve in curves])
    band = (losses.min(0), losses.max(0)) if len(curves) > 1 else None
    return Line(label, colour, grid, losses.mean(0), band)
