"""The tables of analyses: what was found in each variant, by layer or over all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actbench.analysis.findings import Findings, Place
from actbench.analysis.paired import Spread
from actbench.config.placement import LAYER
from actbench.report import numbers
from actbench.report.table import Column, Row, Table, columns


@dataclass(frozen=True)
class Quantity:
    """What a number is called, and how it is shown: so many digits, in percent or as it is."""

    title: str
    digits: int
    percent: bool = False
    given: bool = False  # by the model's shape, so that seeds do not differ

    def shown(self, value: Spread) -> str:
        """The mean, and the standard deviation over seeds where there are several."""
        if self.given:
            return f"{value.mean:.{self.digits}f}"
        if not self.percent:
            return numbers.mean_and_sd(value, self.digits)
        of_100 = Spread(100 * value.mean, None if value.sd is None else 100 * value.sd, value.n)
        return numbers.mean_and_sd(of_100, self.digits)


QUANTITIES: dict[str, dict[str, Quantity]] = {
    "rank": {
        "full_rank": Quantity("full rank", 0, given=True),
        "effective_rank": Quantity("effective rank", 1),
        "effective_rank_share": Quantity("of full (%)", 1, percent=True),
        "effective_rank_of_random": Quantity("of a random matrix's (%)", 1, percent=True),
        "share_above_1_percent": Quantity("above 1 % of largest (%)", 1, percent=True),
        "stable_rank": Quantity("stable rank", 2),
    },
    "similarity": {"cosine": Quantity("cosine of input and output", 4)},
    "activity": {
        "dead_share": Quantity("dead units (%)", 2, percent=True),
        "weak_share": Quantity("weak units (%)", 2, percent=True),
        "zero_share": Quantity("outputs of 0 (%)", 2, percent=True),
        "inputs_mean": Quantity("input mean", 3),
        "inputs_sd": Quantity("input sd", 3),
        "outputs_mean": Quantity("output mean", 3),
        "outputs_sd": Quantity("output sd", 3),
        "gradient_norm": Quantity("gradient norm", 4),
        "feed_forward_gradient_norm": Quantity("of the FFN", 4),
    },
}
TITLES = {
    "rank": "Rank of the feed-forward matrices",
    "similarity": "Similarity of hidden states between layers",
    "activity": "What the activations do",
}
NOTES = {
    "rank": (
        "Effective rank: exp of the entropy of the singular values (Roy & Vetterli 2007). Above 1 %: the share of "
        "singular values larger than a hundredth of the largest. Stable rank: the sum of squared singular values over "
        "the largest square. A random matrix has the higher a rank, the more oblong it is: where shapes differ, "
        "compare with that.",
    ),
    "similarity": ("Cosine between what a block receives and what it gives on, averaged over all tokens.",),
    "activity": (
        "Dead: output 0 and gradient 0 for every token. Weak: a root mean square output of at most 1 % of the layer's. "
        "Gradient norms are L2, of the mean loss over the text.",
    ),
}


def analysis_table(found: Sequence[Findings], *, by_layer: bool) -> Table:
    """Of one analysis: a row a variant and layer (and matrix), or a row a variant with means over layers."""
    analysis = found[0].analysis
    quantities = QUANTITIES[analysis]
    heads = (
        *columns("activation", *(["layer"] if by_layer else []), *(["matrix"] if analysis == "rank" else [])),
        Column("seeds", numeric=True),
        *columns(*(quantity.title for quantity in quantities.values()), numeric=True),
    )
    rows = [
        _row(one, place, spreads, quantities, by_layer=by_layer)
        for one in found
        for place, spreads in (one.by_place() if by_layer else one.over_layers()).items()
    ]
    how = "mean ± sd over seeds" if by_layer else "means over layers ± sd over seeds"
    texts = list(dict.fromkeys(one.text for one in found if one.text))
    where = f" on {numbers.join(texts)}" if texts else ""
    return Table(f"{TITLES[analysis]}{where}, {how}", heads, tuple(rows), NOTES[analysis], f"analysis-{analysis}")


def rank_history_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Ranks over training: a row a run, step, layer and matrix, from what each of these has as numbers."""
    quantities = QUANTITIES["rank"]
    heads = (
        *columns("run"),
        Column("step", numeric=True),
        *columns("layer", "matrix"),
        *columns(*(quantity.title for quantity in quantities.values()), numeric=True),
    )
    rows = tuple(
        Row(
            (
                *(one["run"], str(one["step"]), place_name(one["layer"]), one["matrix"]),
                *(quantity.shown(Spread(one[key], None, 1)) for key, quantity in quantities.items()),
            ),
            dict(one),
            (one["run"],),
        )
        for one in found
    )
    return Table(f"{TITLES['rank']} over training", heads, rows, NOTES["rank"], "analysis-rank-training")


def place_name(slot: str) -> str:
    """What a reader calls a slot: layers are counted from 1."""
    return str(int(slot.removeprefix(LAYER)) + 1) if slot.startswith(LAYER) else slot


def _row(
    one: Findings, place: Place, spreads: dict[str, Spread], quantities: dict[str, Quantity], *, by_layer: bool
) -> Row:
    shown = [
        quantity.shown(spreads[key]) if key in spreads else numbers.NOTHING for key, quantity in quantities.items()
    ]
    names = (place_name(place[0]), *place[1:]) if by_layer else place
    keys = [*(["layer"] if by_layer else []), *(["matrix"] if one.analysis == "rank" else [])]
    values = {
        "activation": one.name,
        **dict(zip(keys, place, strict=True)),
        "seeds": len(one.runs),
        **{key: {"mean": value.mean, "sd": value.sd} for key, value in spreads.items()},
    }
    return Row((one.name, *names, str(len(one.runs)), *shown), values, one.runs)
