"""`actbench activations fit`: rational functions that are like another activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer

from actbench.cli.common import JsonOption, print_json, say

N = TypeVar("N", int, float)


def fit(
    target: Annotated[str, typer.Option(help="What to be like: an activation's name, or your own as mine.py:MyAct.")],
    degrees: Annotated[str, typer.Option(help="Of the numerator and the denominator.")] = "5,4",
    range_: Annotated[str, typer.Option("--range", help="Where to be like it.")] = "-3,3",
    version: Annotated[str, typer.Option(help="Of the denominator: A, B, C, D or N.")] = "A",
    minimize: Annotated[str, typer.Option(help="Which error: max, the largest, or rms.")] = "max",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A .json file that recipes can name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a rational activation (raf) to another one; prints its errors and what to put into a recipe.

    Example: actbench activations fit --target gelu --degrees 5,4 -o gelu54.json
    """
    from actbench.activations.fitting import Measure, Version, fit
    from actbench.activations.starts import target as function_of
    from actbench.errors import BadInput, Problem
    from actbench.store.atomic import write_json

    m_n, interval = _pair("--degrees", degrees, int, "5,4"), _pair("--range", range_, float, "-3,3")
    _choice("--version", version, get_args(Version))
    _choice("--minimize", minimize, get_args(Measure))
    if output is not None and output.suffix != ".json":
        raise BadInput(
            Problem("recipes know a coefficient file by its suffix", where=str(output), hint="name it .json")
        )
    try:
        found = fit(function_of(target), version, m_n, interval, minimize)  # type: ignore[arg-type]  # checked above
    except ValueError as error:
        raise BadInput(Problem(str(error))) from None
    name = target.rpartition(":")[2]
    title = f"{name} on [{interval[0]:g}, {interval[1]:g}] by a rational function, version {version}, degrees {m_n}"
    errors = f"largest error {found.max_error:.3e} at x = {found.at:.4f}, RMS error {found.rms_error:.3e}"
    if output is not None:
        entry = {"num": found.numerator, "den": found.denominator}
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, {"about": f"{title}: {errors}", "version": version, "models": {name: [entry]}})
        say(f"wrote {output}")
    if as_json:
        facts = {"target": target, "version": version, "degrees": m_n, "range": interval, "minimize": minimize}
        print_json({**facts, **vars(found), "output": output and str(output)})
        return
    numbers = {"numerator": found.numerator, "denominator": found.denominator}
    lines = [
        f"{key}: {[float(f'{value:.9g}') for value in values]}" for key, values in numbers.items()
    ]  # fp32's digits
    options = [f"version: {version}", f"degrees: {list(m_n)}", *lines] if output is None else [f"init: {output}"]
    recipe = ["model:", "  activation:", "    name: raf", *(f"    {option}" for option in options)]
    print("\n".join([title, errors, *lines, "", "in a recipe:", *recipe]))


def _pair(option: str, text: str, kind: Callable[[str], N], example: str) -> tuple[N, N]:
    from actbench.errors import BadInput, Problem

    try:
        first, second = map(kind, text.split(","))
    except ValueError:
        raise BadInput(Problem(f"'{text}' is not two numbers", option, hint=f"as in {example}")) from None
    return first, second


def _choice(option: str, text: str, known: Sequence[str]) -> None:
    from actbench.errors import BadInput, Problem, nearest

    if text not in known:
        raise BadInput(Problem(f"unknown '{text}'", option, hint=nearest(text, known)))
