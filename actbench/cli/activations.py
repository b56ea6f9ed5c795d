"""`actbench activations`: what there is to choose from."""

from __future__ import annotations

import typer

from actbench.cli.common import JsonOption, print_json

app = typer.Typer(no_args_is_help=True, help="The activations a recipe can name.")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List all registered activations.

    Example: actbench activations list
    """
    from actbench.activations import available, get

    rows = []
    for name in available():
        cls = get(name)
        learnable = sum(parameter.numel() for parameter in cls().parameters())
        about = (cls.__doc__ or "").strip().splitlines()[0]
        rows.append({"name": name, "gated": cls.gated, "coefficients": learnable, "about": about})
    if as_json:
        print_json({"activations": rows})
        return
    from actbench.cli.show import print_rows, readable

    print_rows(list(rows[0]), [[readable(key, value) for key, value in row.items()] for row in rows])
