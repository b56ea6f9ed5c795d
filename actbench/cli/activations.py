"""`actbench activations`: what there is to choose from, and whether your own fits in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli import activations_fit, activations_shapes
from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json, say

if TYPE_CHECKING:
    from actbench.activations.check import Verdict

app = typer.Typer(no_args_is_help=True, help="The activations a recipe can name.")
app.command()(activations_fit.fit)
app.command()(activations_shapes.shapes)

OptionsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="An option of the activation, as in order=2.")
]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List all activations: those of actbench, and those that installed plug-ins offer.

    Example: actbench activations list
    """
    from actbench.activations import available, clashes
    from actbench.activations.describe import describe
    from actbench.errors import BadInput

    rows, broken = [], {}
    for name in available():
        try:
            facts = describe(name)
        except BadInput as error:
            broken[name] = str(error)
        else:
            row = {"name": name, "gated": facts.gated, "whole_row": facts.whole_row, "coefficients": facts.count}
            row |= {"flops_per_element": facts.flops_per_element, "source": facts.citation or None}
            rows.append({**row, "from": facts.distribution})
    for message in broken.values():
        say(f"left out: {message}")
    for name, distribution in clashes().items():
        say(f"left out: the '{name}' of {distribution}: actbench has an activation of that name")
    if as_json:
        print_json({"activations": rows, "broken": broken})
        return
    from actbench.cli.show import print_rows, readable

    if all(row["from"] is None for row in rows):
        rows = [{key: value for key, value in row.items() if key != "from"} for row in rows]
    columns = [key.replace("_", " ") for key in rows[0]]
    cells = [
        [f"{value:g}" if isinstance(value, float) else readable(key, value) for key, value in row.items()]
        for row in rows
    ]
    print_rows(columns, cells)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An activation's name, or one of your own as mine.py:MyAct.")],
    set_: OptionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one activation: formula, curve, starting values, options, cost and source.

    Example: actbench activations show poly_norm --set order=2
    """
    import math
    from dataclasses import asdict

    from actbench.activations.describe import describe, graph, made

    options = _options(set_)
    facts = describe(name, options)
    x, y = (points.tolist() for points in graph(made(name, options)))
    if as_json:
        print_json(
            {
                **asdict(facts),
                "citation": facts.citation,
                "curve": {"x": x, "y": [value if math.isfinite(value) else None for value in y]},
            }
        )
        return
    from actbench.cli.activation_page import page

    print(page(facts, x, y))


@app.command()
def check(
    name: Annotated[list[str] | None, typer.Argument(help="Names, or your own as mine.py:MyAct. None: all.")] = None,
    set_: OptionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test what actbench relies on, a verdict a line: shapes, gradients, low precision, the compiler, and more.

    Example: actbench activations check ./mine.py:MyAct
    """
    from dataclasses import asdict

    from actbench.activations import available
    from actbench.errors import RunFailed

    options = _options(set_)
    results: dict[str, list[Verdict]] = {}
    for one in name or available():
        results[one] = _verdicts(one, options, all_of_them=not name)
        if not as_json:
            print(f"{one}\n" + "\n".join(f"  {v.status}  {v.check:<12}{v.words}" for v in results[one]), flush=True)
    failed = [key for key, verdicts in results.items() if any(verdict.status == "fail" for verdict in verdicts)]
    if as_json:
        found = [
            {"name": key, "passed": key not in failed, "verdicts": [asdict(verdict) for verdict in verdicts]}
            for key, verdicts in results.items()
        ]
        print_json({"activations": found})
    if failed:
        raise RunFailed(f"{len(failed)} of {len(results)} activations fail: {', '.join(failed)}")


@app.command()
def hinges(
    run: Annotated[str, typer.Argument(help="A run's folder, name, or a beginning of its name.")],
    count: Annotated[int, typer.Option(min=1, help="Hinges on each side, the one at zero included.")] = 4,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Place SPLASH's hinges where a run's activations received their inputs; prints what to put into a recipe.

    Example: actbench activations hinges bert-nano-gelu-s0 --count 4
    """
    import torch
    import yaml

    from actbench.activations.piecewise import hinges_from
    from actbench.analysis.curves import input_samples
    from actbench.errors import BadInput, Problem
    from actbench.store import find_run

    found = find_run(run, runs)
    samples = input_samples(found)
    if not samples:
        raise BadInput(
            Problem(f"run {found.id} kept no sample of its activations' inputs", hint=f"it is {found.status}")
        )
    overrides = []
    for slot, inputs in samples.items():
        try:
            placed = hinges_from(torch.from_numpy(inputs), count)
        except ValueError as error:
            raise BadInput(Problem(str(error), where=f"run {found.id}, {slot}")) from None
        overrides.append({**_place(slot), "name": "splash", "hinges": [float(f"{hinge:.6g}") for hinge in placed]})
    if as_json:
        print_json({"activation_overrides": overrides})
        return
    lines = [yaml.safe_dump(item, default_flow_style=True, sort_keys=False, width=1000).strip() for item in overrides]
    print("\n".join(["model:", "  activation_overrides:", *(f"    - {line}" for line in lines)]))


def _options(overrides: list[str] | None) -> dict[str, Any]:
    from actbench.config.resolve import apply_overrides
    from actbench.config.yaml_source import Source

    return apply_overrides(Source({}), overrides or []).data


def _verdicts(name: str, options: dict[str, Any], all_of_them: bool) -> list[Verdict]:
    from actbench.activations.check import Verdict, check
    from actbench.errors import BadInput

    try:
        verdicts = check(name, options)
    except BadInput as error:
        if not all_of_them:
            raise
        return [Verdict("loads", "fail", str(error))]  # a plug-in that nobody named
    failed = any(verdict.status == "fail" for verdict in verdicts)
    return verdicts if failed else [*verdicts, Verdict("speed", "note", _speed(name, options))]


def _speed(name: str, options: dict[str, Any]) -> str:
    """Time and memory beside GELU's, in words: a first impression; `actbench bench` measures."""
    from actbench.activations import create
    from actbench.activations.describe import width_near
    from actbench.bench.activations.alone import compare

    rows, width = 512, width_near(3072, options)
    found = compare(create(name, width=width, **options), shape=(rows, width), rounds=5)
    ratios = f"{found.time_ratio:.1f} x GELU's time, {found.memory_ratio:.1f} x its peak memory"
    return f"{ratios}, forward and backward without a compiler at ({rows}, {width})"


def _place(slot: str) -> dict[str, Any]:
    """The key of an override that means the slot."""
    layers, dot, number = slot.partition(".")
    return {"layers": int(number)} if dot and layers == "layers" else {"slot": slot}
