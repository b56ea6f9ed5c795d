"""`actbench recipe`: look at recipes and check them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli.common import JsonOption, SetOption, print_json

if TYPE_CHECKING:
    from actbench.config import Recipe

app = typer.Typer(no_args_is_help=True, help="Look at recipes and check them.")


@app.command()
def show(
    recipe: Annotated[Path, typer.Argument(help="A recipe file.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a recipe with every default written out, as a run will see it, and how large its model is.

    The size is counted, nothing is built; it stands in comments, so that what is printed is a recipe.

    Example: actbench recipe show recipes/nano/bert.yaml --set model.activation.name=raf
    """
    from actbench.config import dump, load_recipe

    loaded = load_recipe(recipe, overrides or [])
    size = _size(loaded)
    if as_json:
        print_json({**loaded.model_dump(mode="json"), "size": size})
    else:
        print(dump(loaded), *_comments(size), sep="")


def _size(recipe: Recipe) -> dict[str, Any] | None:
    """Counts the model; None where its vocabulary is that of a file which is not here."""
    from actbench.data import tokenizer as tokenizing
    from actbench.nn.size import size

    vocabulary, file = recipe.tokenizer.vocab_size, recipe.tokenizer.file
    if file is not None:
        if not Path(file).expanduser().exists():
            return None
        vocabulary = tokenizing.vocabulary_size(tokenizing.load(Path(file), recipe.tokenizer.lowercase))
    return {"vocabulary": vocabulary, **size(recipe.model, vocabulary, recipe.batch.length)}


def _comments(size: dict[str, Any] | None) -> list[str]:
    from actbench.cli.show import readable

    if size is None:
        return ["# size: not known without the tokenizer's file\n"]
    return [f"# {name.replace('_', ' ')}: {readable(name, value)}\n" for name, value in size.items()]


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
