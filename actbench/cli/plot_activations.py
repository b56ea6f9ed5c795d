"""`actbench plot activations`: what was learned, in the forms of RAFT's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from actbench.cli.common import RUNS, JsonOption, LookInOption, WhereOption, print_json, say
from actbench.cli.model_curves import Chosen, CoefficientsOption, PretrainedOption, RunsArgument, SlotOption

if TYPE_CHECKING:
    from actbench.analysis.curve_distances import DistanceMap

Form = Literal["curves", "training", "distances", "drift"]
By = Literal["layer", "model", "step"]

PANELS: dict[str, tuple[str, ...]] = {
    "curves": ("layer", "model"),
    "training": ("layer", "step"),
    "distances": ("layer", "model"),
    "drift": (),
}


def activations(
    run: RunsArgument = None,
    where: WhereOption = None,
    coefficients: CoefficientsOption = None,
    pretrained: PretrainedOption = None,
    form: Annotated[
        Form,
        typer.Option(
            help="The curves; how they moved over training; how far they are apart; how far from where they began."
        ),
    ] = "curves",
    by: Annotated[
        By | None,
        typer.Option(help="What has a panel: a layer, a model (with its layers overlaid) or a step of training."),
    ] = None,
    slot: SlotOption = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="An .svg, .png or .pdf file; of --form training also a .gif.")
    ] = Path("activations.svg"),
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """The learned activations, a panel a layer: learned curve, initial curve dotted, inputs beneath.

    Runs fine-tuned on several tasks are a line each, with the pre-trained curve dotted. Distances are root mean square
    differences on [-3, 3]; by layer, they are between models. A coefficient file's model with an odd number of entries
    has the pooler's last.

    Example: actbench plot activations bert-nano-raf-s0 bert-nano-raf-s1 -o raf.svg
    """
    from actbench.errors import BadInput, Problem, nearest

    if by is not None and by not in PANELS[form]:
        hint = nearest("", PANELS[form]) if PANELS[form] else "leave it out"
        raise BadInput(Problem(f"--form {form} has no panels by {by}", where="--by", hint=hint))
    chosen = Chosen(run, where, coefficients, pretrained, runs)
    maps = _draw(chosen, form, by, slot, output)
    if as_json:
        print_json({"output": str(output), **({} if maps is None else {"maps": [_numbers(one) for one in maps]})})
    else:
        say(f"wrote {output}")


def _draw(chosen: Chosen, form: Form, by: By | None, slots: list[str] | None, output: Path) -> list[DistanceMap] | None:
    """Draws, and returns the numbers of what is drawn as maps."""
    from actbench.report.figures import plot_by_layer, plot_by_model, plot_distances, plot_drift, plot_over_training

    if form == "training":
        plot_over_training(chosen.only_run("--form training"), output, "step" if by == "step" else "layer", slots)
        return None
    models = chosen.curves()
    if form == "drift":
        return [plot_drift(models, output, slots)]
    if form == "distances":
        by_layer = by == "layer" or (by is None and len(models) > 1)
        return plot_distances(models, output, "layer" if by_layer else "model", slots)
    (plot_by_model if by == "model" else plot_by_layer)(models, output, slots)
    return None


def _numbers(one: DistanceMap) -> dict[str, Any]:
    """A map as JSON data; null where a model lacks the slot."""
    values = [[None if value != value else value for value in row] for row in one.values.tolist()]
    return {"title": one.title, "rows": one.rows, "columns": one.columns, "values": values}
