"""What analyses found: by layer, over training, as heat maps of similarity, as histograms of activity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from actbench.analysis.findings import Findings, Numbers, Place
from actbench.config.placement import LAYER, POOLER
from actbench.report.analysis_tables import place_name
from actbench.report.figure_style import colours, figure_format, save, style
from actbench.report.heat_maps import HeatMap, heat_figure
from actbench.report.line_panels import Line, LinePanel, line_figure

BY_LAYER = {
    "rank": {
        "effective_rank_of_random": "effective / random's rank",
        "share_above_1_percent": "share above 1 %",
        "stable_rank": "stable rank",
    },
    "similarity": {"cosine": "cosine"},
    "activity": {
        "dead_share": "share of dead units",
        "weak_share": "share of weak units",
        "zero_share": "share of outputs of 0",
        "gradient_norm": "gradient norm, block",
    },
}
NOT_FROM_ZERO = ("cosine", "stable_rank", "effective_rank_of_random")
ORDER = ("in", "gate", "out")
MOST_HISTOGRAMS = 12  # layers: of deeper models, so many are taken, evenly
MOST_MAPS = 24

Histories = Sequence[tuple[str, str, Mapping[int, Mapping[Place, Numbers]]]]  # (name, activation, by step)


def plot_by_depth(found: Sequence[Findings], path: Path, colour_of: Mapping[str, str] | None = None) -> None:
    """Draws an analysis' quantities against the layer: a line a variant, a band from the lowest seed to the highest.

    Raises BadInput for a suffix other than svg, png or pdf.
    """
    figure_format(path)
    colour_of = colour_of or colours((one.name, one.activation) for one in found)
    matrices = _in_order(place[1:] for one in found for place in one.by_place())
    quantities = BY_LAYER[found[0].analysis]
    panels = [
        LinePanel(
            ", ".join(matrix) or title,
            "layer",
            title if matrix else "",
            [_by_layer(one, matrix, key, colour_of[one.name]) for one in found if _has(one, matrix)],
            counted=True,
            lowest=None if key in NOT_FROM_ZERO else 0.0,
        )
        for key, title in quantities.items()
        for matrix in matrices
    ]
    with style():
        save(line_figure(panels, len(matrices) if matrices != [()] else min(len(quantities), 2)), path)


def plot_rank_history(histories: Histories, path: Path) -> None:
    """Draws how ranks, averaged over layers, went over training: a line a run, variants by colour."""
    figure_format(path)
    colour_of = colours((name, activation) for name, activation, _ in histories)
    matrices = _in_order(place[1:] for _, _, steps in histories for place in steps[min(steps)])
    panels = [
        LinePanel(
            ", ".join(matrix),
            "step",
            f"{title},\nmean over layers",
            [
                _over_steps(name, colour_of[name], steps, matrix, key)
                for name, _, steps in histories
                if any(place[1:] == matrix for place in steps[min(steps)])
            ],
        )
        for key, title in BY_LAYER["rank"].items()
        for matrix in matrices
    ]
    with style():
        save(line_figure(panels, len(matrices)), path)


def plot_similarity(found: Sequence[Findings], path: Path) -> None:
    """Draws the cosines of all pairs of depths, a map a variant, means over seeds. 0 is the embeddings."""
    figure_format(path)
    maps = []
    for one in found[:MOST_MAPS]:
        cosines = np.mean([result["cosines"] for result in one.results], axis=0)
        depths = [str(i) for i in range(len(cosines))]
        maps.append(HeatMap(one.name, depths, depths, cosines))
    note = "0: what the first block receives; then what each block gives on. Mean cosine over all tokens."
    with style():
        save(heat_figure(maps, "cosine", 1.0, [note]), path)


def plot_histograms(found: Sequence[Findings], path: Path, colour_of: Mapping[str, str] | None = None) -> None:
    """Draws how often inputs and outputs of each size occur: a panel a layer for either, a line a variant."""
    figure_format(path)
    colour_of = colour_of or colours((one.name, one.activation) for one in found)
    slots = list(dict.fromkeys(slot for one in found for result in one.results for slot in result["slots"]))
    taken = np.unique(np.linspace(0, len(slots) - 1, min(len(slots), MOST_HISTOGRAMS)).round().astype(int))
    panels = [
        LinePanel(
            f"{_slot_name(slots[i])}, {side}",
            "value",
            "share of values",
            [_histogram(one, slots[i], side, colour_of[one.name]) for one in found if _sees(one, slots[i])],
            log="y",
        )
        for i in taken
        for side in ("inputs", "outputs")
    ]
    with style():
        save(line_figure(panels, 4 if len(panels) > 2 else 2), path)


def _in_order(matrices: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each once, in the order in which a block applies them; () where an analysis knows no matrices."""
    return sorted(set(matrices), key=lambda matrix: [ORDER.index(name) for name in matrix])


def _has(one: Findings, matrix: tuple[str, ...]) -> bool:
    return any(place[1:] == matrix for place in one.by_place())


def _sees(one: Findings, slot: str) -> bool:
    return all(slot in result["slots"] for result in one.results)


def _by_layer(one: Findings, matrix: tuple[str, ...], key: str, colour: str) -> Line:
    places = [place for place in one.by_place() if place[1:] == matrix and place[0].startswith(LAYER)]
    x = np.array([int(place_name(place[0])) for place in places], dtype=float)
    each = np.array([[numbers[place].get(key, np.nan) for place in places] for numbers in one.each_seed()])
    band = (each.min(0), each.max(0)) if len(each) > 1 else None
    return Line(one.name, colour, x, each.mean(0), band)


def _over_steps(
    name: str, colour: str, steps: Mapping[int, Mapping[Place, Numbers]], matrix: tuple[str, ...], key: str
) -> Line:
    means = [
        np.mean([numbers.get(key, np.nan) for place, numbers in at.items() if place[1:] == matrix])
        for at in steps.values()
    ]
    return Line(name, colour, np.array(list(steps), dtype=float), np.array(means, dtype=float), width=1.2)


def _histogram(one: Findings, slot: str, side: str, colour: str) -> Line:
    edges = np.array(one.results[0]["edges"])
    shares = np.mean([result["slots"][slot][side]["fractions"] for result in one.results], axis=0)
    return Line(one.name, colour, (edges[:-1] + edges[1:]) / 2, np.where(shares > 0, shares, np.nan), width=1.1)


def _slot_name(slot: str) -> str:
    return slot if slot == POOLER else f"layer {place_name(slot)}"
