"""What a study's analyses add to its report: for each analysis and text, a table of means over layers, and figures; and
how fast smooth functions are approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from actbench.analysis.findings import Findings, analyses, findings
from actbench.errors import BadInput
from actbench.report.analysis_tables import TITLES, analysis_table
from actbench.report.figure_style import colours
from actbench.report.figures_analyses import plot_by_depth, plot_histograms, plot_similarity
from actbench.report.pictures import Picture, slug
from actbench.report.table import Table
from actbench.store import Run

if TYPE_CHECKING:
    from actbench.analysis.approximation import Kept

Draw = Callable[[Sequence[Findings], Path, Mapping[str, str]], None]


@dataclass(frozen=True)
class Figure:
    """A figure of an analysis: what its file's name ends in, what stands beneath it, and what draws it."""

    ending: str
    caption: str
    draw: Draw


BAND = "Several seeds: their mean, in a band from the lowest to the highest."
MEDIAN = "Medians over seeds, in a band from the lowest to the highest."
FIGURES: dict[str, tuple[Figure, ...]] = {
    "rank": (Figure("", BAND, plot_by_depth),),
    "similarity": (
        Figure(
            "",
            "Cosine of a token's states at two depths; 0 is what the first block receives.",
            lambda found, path, _: plot_similarity(found, path),
        ),
        Figure("-adjacent", f"Of what each block receives and gives on. {BAND}", plot_by_depth),
    ),
    "activity": (
        Figure("", BAND, plot_by_depth),
        Figure("-histograms", "How often values of each size occur; means over seeds.", plot_histograms),
    ),
}


def analysis_section(
    folder: Path, runs: Sequence[Run], colour_of: Mapping[str, str]
) -> tuple[list[Table], list[Picture]]:
    """The tables of all finished analyses among runs, and pictures of each model, in these colours of labels.

    What cannot be read costs its picture and table.
    """
    tables, pictures = [], []
    for number, (analysis, text, own) in enumerate(analyses(runs)):
        name = f"analysis-{number + 1}-{analysis}"
        title = TITLES[analysis] + (f" on {text}" if text else "")
        try:
            found = findings(own)
        except BadInput as error:
            pictures.append(Picture(f"figures/{name}.svg", title, "", problem=f"Not drawn: {error}"))
            continue
        tables.append(replace(analysis_table(found, by_layer=False), name=name))
        for model in dict.fromkeys(one.model for one in found):
            own_findings = [replace(one, name=one.label) for one in found if one.model == model]
            shown = colours((one.label, one.activation) for one in own_findings) | dict(colour_of)
            for figure in FIGURES[analysis]:
                file = f"figures/{name}{figure.ending}-{slug(model)}.svg"
                figure.draw(own_findings, folder / file, shown)
                pictures.append(Picture(file, f"{model}: {title[0].lower()}{title[1:]}", figure.caption))
    return tables, pictures


def approximation_section(folder: Path, fitted: Kept | None) -> tuple[list[Table], list[Picture]]:
    """The tables and the picture of fits of smooth functions; nothing without any."""
    if fitted is None or not fitted.fits:
        return [], []
    from actbench.analysis.approximation import rates
    from actbench.report.approximation_report import errors_table, plot_approximation, rates_table

    file, slopes = "figures/approximation.svg", rates_table(rates(fitted.fits))
    plot_approximation(fitted.fits, folder / file)
    if len(fitted.fits) < fitted.asked:
        missing = f"{len(fitted.fits)} of {fitted.asked} fits are there: with the others, slopes may be others."
        slopes = replace(slopes, notes=(*slopes.notes, missing))
    caption = f"Networks of one hidden layer: the largest error by their parameters. {MEDIAN}"
    return [slopes, errors_table(fitted.fits)], [Picture(file, "How fast functions are approximated", caption)]
