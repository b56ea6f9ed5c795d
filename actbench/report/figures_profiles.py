"""Performance profiles: for every score, how many of a variant's fine-tunings do better, over all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actbench.analysis.over_tasks import OverTasks
from actbench.analysis.tasks import performance_profile
from actbench.errors import BadInput
from actbench.report.figure_style import colours, figure_format, save, style

POINTS = 201
DASHES = ("-", "--", "-.", ":")  # tell variants apart where colour is lost in print


def plot_profiles(variants: Sequence[OverTasks], path: Path) -> None:
    """Draws one model's profiles, with bands where there are seeds enough for an interval.

    After Agarwal et al. 2021 (arXiv:2108.13264). Raises BadInput for a suffix other than svg, png or pdf,
    and without variants.
    """
    figure_format(path)
    if not variants:
        raise BadInput("no variants to draw profiles of")
    with style():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        _draw(figure.subplots(), variants)
        figure.legend(loc="outside upper left", ncols=4)
        save(figure, path)


def _draw(axes: Axes, variants: Sequence[OverTasks]) -> None:
    lowest = min(float(variant.scores.min()) for variant in variants)
    highest = max(float(variant.scores.max()) for variant in variants)
    margin = 0.03 * (highest - lowest or 1.0)
    thresholds = np.linspace(lowest - margin, highest + margin, POINTS)
    colour_of = colours((variant.label, variant.activation) for variant in variants)
    for index, variant in enumerate(variants):
        profile = performance_profile(variant.scores, thresholds)
        colour = colour_of[variant.label]
        if profile.band is not None:
            axes.fill_between(thresholds, *profile.band, color=colour, alpha=0.14, linewidth=0, step="post")
        dashes = DASHES[index % len(DASHES)]
        axes.step(
            thresholds, profile.share, where="post", color=colour, linewidth=1.5, linestyle=dashes, label=variant.label
        )
    axes.set_xlim(float(thresholds[0]), float(thresholds[-1]))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("score τ (percent)")
    axes.set_ylabel("share of scores above τ")
    axes.tick_params(length=0)
