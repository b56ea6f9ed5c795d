"""One colour for each activation of a report, told apart from the page's ground whether that is light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.colors import to_hex, to_rgb

from actbench.analysis.cohorts import Cohort
from actbench.report.figure_style import colours

LIGHT, DARK = "#ffffff", "#181b1f"  # what charts stand on
CONTRAST = 3.0  # WCAG 2.2, 1.4.11: graphics
STEPS = 40
GREY = 0.05  # how far a grey's channels may be apart

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Palette:
    """Labels of activations in the report's order, the colour of each, and that colour on either ground."""

    labels: tuple[str, ...]
    colour_of: dict[str, str]

    @property
    def numbers(self) -> dict[str, int]:
        """Each label's number."""
        return {label: number for number, label in enumerate(self.labels)}

    @property
    def tones(self) -> list[tuple[str, str]]:
        """By number: the colour on the light and on the dark ground."""
        return [(legible(self.colour_of[x], LIGHT), legible(self.colour_of[x], DARK)) for x in self.labels]


def palette(found: Sequence[Cohort], baseline: str) -> Palette:
    """The palette of all variants, the baselines first."""
    variants = {variant.label: variant.first.activation for cohort in found for variant in cohort.variants}
    baselines = {variant.label for cohort in found if (variant := cohort.called(baseline))}
    order = sorted(variants, key=lambda label: (label not in baselines, label))
    return Palette(tuple(order), colours(variants.items()))


def legible(colour: str, ground: str) -> str:
    """The colour, mixed with white or black only as far as it takes to stand out on `ground`.

    A dark grey turns into the light one that is its like: on a dark ground, that is the neutral colour.
    """
    if ground == DARK and max(to_rgb(colour)) - min(to_rgb(colour)) < GREY and luminance(to_rgb(colour)) < 0.2:
        colour = to_hex([1 - channel for channel in to_rgb(colour)])
    towards = (0.0, 0.0, 0.0) if luminance(to_rgb(ground)) > 0.5 else (1.0, 1.0, 1.0)
    return next(
        to_hex(tone)
        for step in range(STEPS + 1)
        if contrast(tone := _mixed(to_rgb(colour), towards, step / STEPS), to_rgb(ground)) >= CONTRAST
    )


def contrast(one: Rgb, other: Rgb) -> float:
    """The ratio of two colours' luminances, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: Rgb) -> float:
    """The relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mixed(one: Iterable[float], other: Iterable[float], share: float) -> Rgb:
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return red, green, blue
