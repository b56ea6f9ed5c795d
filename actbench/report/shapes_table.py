"""The table of curves' shapes: where each rises and turns, how far it is from known functions and from its start."""

from __future__ import annotations

from collections.abc import Sequence

from actbench.analysis.curve_distances import gap_from_start
from actbench.analysis.curves import SlotCurve
from actbench.analysis.model_curves import ModelCurves, chosen_slots, whole_row_notes
from actbench.analysis.shapes import REACH, REFERENCES, Gap, Shape, shape
from actbench.report.figures_activations import panel_title
from actbench.report.numbers import MINUS, NOTHING
from actbench.report.table import Row, Table, columns

RANGE = f"[{MINUS}{REACH:g}, {REACH:g}]"


def shapes_table(models: Sequence[ModelCurves], slots: Sequence[str] | None = None) -> Table:
    """A row a model and slot, of all or of `slots`. Raises BadInput for a slot that no model has."""
    heads = (
        *columns("model", "layer"),
        *columns("rises", "turns", "lowest", "at", numeric=True),
        *columns("nearest"),
        *columns(*(f"to {name}" for name in REFERENCES), "to start", numeric=True),
    )
    chosen = chosen_slots(models, slots)
    drawn = [(model, model.slots[slot]) for model in models for slot in chosen if slot in model.slots]
    shapes = [shape(curve.x, curve.final) for _, curve in drawn]
    rows = tuple(_row(model, curve, found) for (model, curve), found in zip(drawn, shapes, strict=True))
    return Table(f"The shape of each curve on {RANGE}", heads, rows, _notes(models, shapes), name="shapes")


def _row(model: ModelCurves, curve: SlotCurve, found: Shape) -> Row:
    drift = gap_from_start(curve) if curve.learnable else None
    cells = (
        model.label,
        panel_title(curve.slot),
        f"{100 * found.rises:.0f} %",
        str(found.turns),
        _signed(f"{found.lowest:.3f}"),
        _signed(f"{found.lowest_at:.2f}"),
        found.nearest,
        *(_gap(gap) for gap in found.gaps.values()),
        NOTHING if drift is None else f"{drift:.3f}",
    )
    values = {
        "model": model.label,
        "slot": curve.slot,
        "activation": curve.activation,
        "rises": found.rises,
        "falls": found.falls,
        "turns": found.turns,
        "lowest": found.lowest,
        "lowest_at": found.lowest_at,
        "nearest": found.nearest,
        "distance": {name: {"rms": gap.rms, "max": gap.max} for name, gap in found.gaps.items()},
        "drift_rms": drift,
        "whole_row": curve.whole_row,
    }
    return Row(cells, values, (model.run,) if model.run else ())


def _notes(models: Sequence[ModelCurves], shapes: Sequence[Shape]) -> tuple[str, ...]:
    monotone = sum(found.turns == 0 for found in shapes)
    starts = " or ".join(sorted({model.start for model in models}))
    return (
        f"{monotone} of {len(shapes)} curves are monotone, without a turn from rising to falling or back.",
        "rises: the share of the interval on which the curve rises. lowest: its least value, first met at.",
        f"to: the root mean square difference, in brackets the largest. Where a curve began: {starts}.",
        *whole_row_notes(models),
    )


def _gap(gap: Gap) -> str:
    return f"{gap.rms:.3f} ({gap.max:.2f})"


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
