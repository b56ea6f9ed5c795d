"""The curves of several models beside each other: what each is called, and what it began with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from actbench.activations.coefficients import Entry, matching, read
from actbench.analysis.coefficient_curves import coefficient_curves
from actbench.analysis.cohorts import seed_key
from actbench.analysis.curves import SlotCurve, slot_curves
from actbench.analysis.labels import labels
from actbench.config.finetuning import OF_COEFFICIENTS
from actbench.config.placement import LAYER, short_name, spelled
from actbench.errors import BadInput, Problem, nearest
from actbench.store import Run

BEFORE, PRETRAINED, LIKE_GELU = "before training", "pre-trained", "start, like GELU"


@dataclass(frozen=True)
class ModelCurves:
    """A run's slots, or those of a coefficient file's model, by name.

    `label` tells it from the models beside it. `kind` is what those of one colour share, an activation or a task, and
    `activation` the one that the colour belongs to, empty for a task. `start` says what its curves' `initial` is. `run`
    is empty for a file's model.
    """

    slots: dict[str, SlotCurve]
    label: str
    kind: str
    activation: str
    start: str
    run: str = ""


def curves_of_runs(runs: Sequence[Run]) -> list[ModelCurves]:
    """The runs' curves. Runs fine-tuned with one activation on several tasks are told apart by task, however it learns.

    Raises BadInput without runs, and for a run that recorded no activations.
    """
    if not runs:
        raise BadInput("no runs to draw activations of")
    found = labels(runs)
    tasks = [_task(run) for run in runs]
    by_task = len(set(labels(runs, OF_COEFFICIENTS))) == 1 and len(set(tasks)) > 1 and all(tasks)
    seeds_differ = len({seed_key(run) for run in runs}) > 1
    names = [
        _name("" if by_task else label, task, _seeds(run) if seeds_differ or not by_task else "")
        for run, label, task in zip(runs, found, tasks, strict=True)
    ]
    return [
        ModelCurves(
            slots={curve.slot: curve for curve in slot_curves(run)},
            label=name if names.count(name) == 1 else f"{task if by_task else label}, {own}",
            kind=task if by_task else label,
            activation="" if by_task else run.activation,
            start=PRETRAINED if run.kind == "finetune" else BEFORE,
            run=run.id,
        )
        for run, label, task, name, own in zip(runs, found, tasks, names, _short_ids(runs), strict=True)
    ]


def curves_of_files(references: Sequence[str], pretrained: str | None = None) -> list[ModelCurves]:
    """The curves of coefficient files' models, each FILE.json, FILE.json:MODEL or FILE.json:PATTERN with a *.

    Their start is the function that is like GELU, or that of `pretrained`, FILE.json:MODEL. Raises BadInput for a file
    that cannot be read or does not have the model.
    """
    try:
        found = [one for reference in references for one in matching(reference)]
        models = [read(reference) for reference in found]
        begin = read(pretrained) if pretrained else None
    except ValueError as error:
        raise BadInput(str(error)) from None
    names = [name for name, _ in models]
    made = []
    for reference, (name, entries) in zip(found, models, strict=True):
        label, curves = (name if names.count(name) == 1 else reference), coefficient_curves(entries)
        if begin is not None:
            curves = _started(curves, label, *begin)
        start = PRETRAINED if begin else LIKE_GELU
        made.append(ModelCurves({curve.slot: curve for curve in curves}, label, label, "raf", start))
    return made


def chosen_slots(models: Sequence[ModelCurves], wanted: Sequence[str] | None = None) -> list[str]:
    """The slots worth a panel: every layer and what else is learnable, or those `wanted`.

    Raises BadInput, naming the nearest, where no model has a wanted one.
    """
    curves = [curve for model in models for curve in model.slots.values()]
    slots = list(dict.fromkeys(curve.slot for curve in curves))
    for slot in wanted or ():
        if slot not in slots:
            raise BadInput(Problem(f"there is no slot '{slot}'", where="--slot", hint=nearest(slot, slots)))
    return list(dict.fromkeys(wanted)) if wanted else panel_slots(curves)


def panel_slots(curves: Sequence[SlotCurve]) -> list[str]:
    """The slots that have a panel: every layer, and what else is learnable."""
    slots = dict.fromkeys(curve.slot for curve in curves)
    learnable = {curve.slot for curve in curves if curve.learnable}
    return [slot for slot in slots if slot.startswith(LAYER) or slot in learnable]


def whole_row_notes(models: Sequence[ModelCurves]) -> list[str]:
    """What a reader must know of curves that are drawn for certain rows of inputs; empty where there are none."""
    drawn = [curve for model in models for curve in model.slots.values() if curve.whole_row]
    notes = []
    for sampled, rows in (
        (True, "the mean norms of what each layer received on one batch"),
        (False, "the norms of normal numbers, since no inputs were kept"),
    ):
        names = sorted({short_name(curve.activation) for curve in drawn if (curve.inputs is not None) == sampled})
        if names:
            notes.append(f"{' and '.join(names)}: a value depends on its whole row; the curve is that for {rows}.")
    return notes


def _started(curves: list[SlotCurve], label: str, name: str, entries: list[Entry]) -> list[SlotCurve]:
    """The curves with those of the model `name` as their start."""
    starts = {curve.slot: curve.final for curve in coefficient_curves(entries)}
    if missing := [curve.slot for curve in curves if curve.slot not in starts]:
        raise BadInput(Problem(f"{name} lacks {spelled(missing)} of {label}", where="--pretrained"))
    return [replace(curve, initial=starts[curve.slot]) for curve in curves]


def _name(label: str, task: str, seeds: str) -> str:
    return ", ".join(part for part in (label, task, seeds) if part)


def _short_ids(runs: Sequence[Run]) -> list[str]:
    """The runs' ids, those of fine-tuned ones without their parent's where they can be told apart without."""
    short = [run.id.removeprefix(f"{run.info.get('parent', '')}-") for run in runs]
    return short if len(set(short)) == len(short) else [run.id for run in runs]


def _task(run: Run) -> str:
    return str(run.info["task"]["name"]) if run.kind == "finetune" else ""


def _seeds(run: Run) -> str:
    seed, finetune_seed = seed_key(run)
    return f"seeds {seed}/{finetune_seed}" if run.kind == "finetune" else f"seed {seed}"
