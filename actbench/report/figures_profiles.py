"""Performance profiles: how often a variant's fine-tuning gains how much over the baseline's, over all tasks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actbench.analysis.over_tasks import OverTasks
from actbench.analysis.tasks import Array, performance_profile
from actbench.errors import BadInput
from actbench.report.figure_style import MUTED, colours, figure_format, save, style

POINTS = 201
DASHES = ("-", "--", "-.", ":")  # tell variants apart where colour is lost in print


def plot_profiles(
    variants: Sequence[OverTasks], baseline: str, path: Path, colour_of: Mapping[str, str] | None = None
) -> None:
    """Draws one model's profiles, each label in its colour, with bands where there are seeds enough for an interval.

    After Agarwal et al. 2021 (arXiv:2108.13264), who normalise each task's scores before they are put together; here
    each score counts as its gain over the baseline's of the same seed and task. Raises BadInput for a suffix other
    than svg, png or pdf, and when no variant has a baseline.
    """
    figure_format(path)
    gains = {variant.label: variant.gains for variant in variants if variant.gains is not None}
    if not gains:
        raise BadInput(f"no variants to draw profiles of beside {baseline}")
    colour_of = colour_of or colours((variant.label, variant.activation) for variant in variants)
    with style():
        figure = Figure(figsize=(4.9, 3.4), layout="constrained")
        _draw(figure.subplots(), gains, baseline, colour_of)
        figure.legend(loc="outside upper left", ncols=3)
        save(figure, path)


def _draw(axes: Axes, gains: Mapping[str, Array], baseline: str, colour_of: Mapping[str, str]) -> None:
    lowest = min(0.0, *(float(gain.min()) for gain in gains.values()))
    highest = max(0.0, *(float(gain.max()) for gain in gains.values()))
    margin = 0.03 * (highest - lowest or 1.0)
    thresholds = np.linspace(lowest - margin, highest + margin, POINTS)
    axes.axvline(0.0, color=MUTED, linewidth=0.9, label=baseline)
    for (label, gain), dashes in zip(gains.items(), itertools.cycle(DASHES), strict=False):
        profile, colour = performance_profile(gain, thresholds), colour_of[label]
        if profile.band is not None:
            axes.fill_between(thresholds, *profile.band, color=colour, alpha=0.14, linewidth=0, step="post")
        axes.step(thresholds, profile.share, where="post", color=colour, linewidth=1.5, linestyle=dashes, label=label)
    axes.set_xlim(float(thresholds[0]), float(thresholds[-1]))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"gain τ over {baseline} at the same seed and task (points)")
    axes.set_ylabel("share of gains above τ")
    axes.tick_params(length=0)
