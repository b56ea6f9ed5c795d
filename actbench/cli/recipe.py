"""`actbench recipe`: look at recipes and check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import JsonOption, SetOption, print_json

app = typer.Typer(no_args_is_help=True, help="Look at recipes and check them.")


@app.command()
def show(
    recipe: Annotated[Path, typer.Argument(help="A recipe file.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a recipe with every default written out, as a run will see it.

    Example: actbench recipe show recipes/nano/bert.yaml --set model.activation.name=raf
    """
    from actbench.config import dump, load_recipe

    loaded = load_recipe(recipe, overrides or [])
    if as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        print(dump(loaded), end="")


@app.command()
def check(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check recipes, and list everything that is wrong with them.

    Example: actbench recipe check recipes/nano/*.yaml
    """
    from actbench.config import load_recipe
    from actbench.errors import BadInput

    problems = []
    for recipe in recipes:
        try:
            load_recipe(recipe, overrides or [])
        except BadInput as error:
            problems.extend(error.problems)
    if as_json:
        print_json({"recipes": len(recipes), "problems": [str(problem) for problem in problems]})
    if problems:
        raise BadInput(problems)
    if not as_json:
        print(f"{len(recipes)} good")
