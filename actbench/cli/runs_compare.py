"""`actbench runs compare`: two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, LookInOption, print_json

if TYPE_CHECKING:
    from actbench.analysis.compare import Differing, Measured, RunComparison

STEPS = 10  # of the validation losses, so many are printed


def compare(
    a: Annotated[str, typer.Argument(help="A run's folder, name, or a beginning of its name.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs: recipes, data, machines, results, and whether they are a pair.

    How much sooner an activation reaches its baseline's loss, over seeds, tells actbench compare.

    Example: actbench runs compare bert-nano-gelu-s0 bert-nano-raf-s0
    """
    from actbench.analysis.compare import compare as compare_runs
    from actbench.store import find_run

    compared = compare_runs(find_run(a, runs), find_run(b, runs))
    if as_json:
        print_json(compared.facts())
    else:
        _print(compared)


def _print(compared: RunComparison) -> None:
    print(f"A  {compared.a.id}\nB  {compared.b.id}\n\n{compared.why}")
    of_a, of_b = compared.data
    print("the same data" if of_a == of_b else f"other data: {of_a}, {of_b}")
    _print_differing("recipe", compared.recipe)
    _print_differing("machine and software", compared.environment)
    _print_measured("result", compared.results)
    _print_measured("validation loss at step", _spread(compared.validation))


def _print_differing(title: str, found: tuple[Differing, ...]) -> None:
    from actbench.cli.show import print_rows
    from actbench.store.query import as_text

    print()
    if not found:
        print(f"the same {title}")
        return
    print_rows(
        [title, "A", "B"], [[one.key, *("-" if v is None else as_text(v) for v in (one.a, one.b))] for one in found]
    )


def _print_measured(title: str, found: tuple[Measured, ...]) -> None:
    from actbench.cli.show import print_rows, readable

    if found:
        rows = [[one.key, *(readable(one.key, value) for value in (one.a, one.b)), _signed(one)] for one in found]
        print()
        print_rows([title, "A", "B", "B − A"], rows)


def _signed(one: Measured) -> str:
    from actbench.cli.show import readable

    sign = "−" if one.difference < 0 else "+"
    return sign + readable(one.key, abs(one.difference))


def _spread(found: tuple[Measured, ...]) -> tuple[Measured, ...]:
    """At most STEPS of them, evenly spread, the last one included."""
    if len(found) <= STEPS:
        return found
    return tuple(found[round((i + 1) * len(found) / STEPS) - 1] for i in range(STEPS))
