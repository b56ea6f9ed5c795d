"""The figures of a report: files for Markdown, and what the page draws in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from actbench.analysis.cohorts import Cohort, Variant
from actbench.analysis.comparisons import Family
from actbench.analysis.curves import recorded_slots
from actbench.analysis.over_tasks import OverTasks, over_tasks
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.errors import BadInput
from actbench.report.activation_panels import PanelGrid, panel_grid
from actbench.report.figures import plot_activations, plot_curves, plot_forest, plot_profiles
from actbench.report.forest import Forest, forests
from actbench.report.loss_curves import LossChart, loss_chart
from actbench.report.numbers import plural
from actbench.report.palette import Palette
from actbench.store import Run, identity_hash


@dataclass(frozen=True)
class Picture:
    """A figure of the report: a file under figures/, or in its place the reason why it could not be drawn.

    `live` is what the page draws itself; None where it shows the file.
    """

    file: str
    title: str
    caption: str
    problem: str = ""
    live: Forest | LossChart | PanelGrid | None = None


def forest_pictures(folder: Path, family: Family, palette: Palette) -> list[Picture]:
    """The differences of pre-training and of fine-tuning, each in one figure."""
    pictures = []
    for forest in forests(family):
        side = "left" if forest.better < 0 else "right"
        caption = (
            f"Mean paired difference and its 95 % interval; {side} of zero is better than {family.baseline}. A full "
            f"dot may be called a difference: {ENOUGH_PAIRS} pairs or more, p ≤ 0.05 after correction. A hollow one "
            "may not."
        )
        file = f"figures/{forest.name}.svg"
        draw = partial(plot_forest, forest, palette.colour_of, folder / file)
        pictures.append(_picture(Picture(file, forest.title, caption, live=forest), draw))
    return pictures


def loss_picture(folder: Path, cohort: Cohort, palette: Palette) -> Picture:
    """The losses of one model's runs."""
    runs = [run for variant in cohort.variants for run in variant.runs.values()]
    caption = (
        f"{plural(len(runs), 'run')}. Several seeds of one activation: their mean, the validation loss in a "
        "band from the lowest to the highest. The first fall of the loss runs off the top."
    )
    file = f"figures/{slug(cohort.name)}-loss.svg"
    picture = Picture(file, f"{cohort.name}: loss", caption)
    return _picture(picture, lambda: plot_curves(runs, folder / file), lambda: loss_chart(cohort, palette.numbers))


def profile_pictures(folder: Path, family: Family, palette: Palette) -> list[Picture]:
    """The performance profiles of each model on several tasks, fine-tuned and zero-shot."""
    kinds = ((family.finetuning, "profiles", ""), (family.zero_shot, "zero-shot-profiles", ", zero-shot"))
    return [
        picture
        for comparisons, file, said in kinds
        for picture in _profiles(folder, family, over_tasks(comparisons), palette, file, said)
    ]


def _profiles(
    folder: Path, family: Family, found: Sequence[OverTasks], palette: Palette, name: str, said: str
) -> list[Picture]:
    variants = [variant for variant in found if variant.gains is not None]
    pictures = []
    for model in dict.fromkeys(variant.model for variant in variants):
        own = [variant for variant in variants if variant.model == model]
        caption = (
            f"{plural(len(own[0].tasks), 'task')}. For every τ, the share of tasks and seeds at which a score "
            f"is more than τ points above that of {family.baseline}. Of curves that do not cross, the upper is better. "
            f"Bands (95 %, over pre-training seeds) are drawn from {ENOUGH_PAIRS} seeds on."
        )
        file = f"figures/{slug(model)}-{name}.svg"
        picture = Picture(file, f"{model}: performance profiles{said}", caption)
        pictures.append(
            _picture(picture, partial(plot_profiles, own, family.baseline, folder / file, palette.colour_of))
        )
    return pictures


def activation_pictures(folder: Path, models: Sequence[Cohort]) -> list[Picture]:
    """What each learnable activation of each model became, by its run of the lowest seed."""
    return [
        _activation_picture(folder, cohort, variant)
        for cohort in models
        for variant in cohort.variants
        if _is_learnable(variant.first)
    ]


def _activation_picture(folder: Path, cohort: Cohort, variant: Variant) -> Picture:
    run = variant.first
    caption = (
        f"Run {run.id}, seed {run.seed}. Solid: after training; dotted: before; beneath: how often inputs "
        "of that size reach the layer. A tail that few inputs reach may run off the panel."
    )
    file = f"figures/{slug(cohort.name)}-activations-{_unlike(variant.label)}.svg"
    picture = Picture(file, f"{cohort.name}: {variant.label} by layer", caption)
    return _picture(
        picture, lambda: plot_activations([run], folder / file), lambda: panel_grid(run, cohort.name, variant.label)
    )


def _picture(
    picture: Picture,
    draw: Callable[[], None],
    live: Callable[[], LossChart | PanelGrid] | None = None,
) -> Picture:
    """Draws; a run that cannot be drawn costs the report this figure only."""
    try:
        draw()
        return replace(picture, live=live()) if live else picture
    except BadInput as error:
        return replace(picture, problem=f"Not drawn: {error}")


def _is_learnable(run: Run) -> bool:
    try:
        return any(slot["final"] for slot in recorded_slots(run))
    except BadInput:
        return True  # the attempt to draw it will say what is wrong


def _unlike(label: str) -> str:
    """A slug that no other label has."""
    name = slug(label)
    return name if name == label else f"{name}-{identity_hash({'label': label})[:4]}"


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
