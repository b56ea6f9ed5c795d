"""What every subcommand shares: its common options, and one way to talk."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from actbench.store import Run
    from actbench.study import Changes


def _there(context: typer.Context, parameter: typer.CallbackParam, folder: Path) -> Path:
    """The folder. Raises BadInput when it was named on the command line and is none."""
    source = context.get_parameter_source(str(parameter.name))
    if source is not None and source.name == "COMMANDLINE" and not folder.is_dir():
        from actbench.errors import BadInput, Problem

        raise BadInput(Problem("no such folder", f"--runs {folder}", hint="give the folder that holds the runs"))
    return folder


RunsOption = Annotated[Path, typer.Option("--runs", envvar="ACTBENCH_RUNS", help="Folder that holds the runs.")]
# Of commands that only look: a folder that was named must be there.
LookInOption = Annotated[
    Path, typer.Option("--runs", envvar="ACTBENCH_RUNS", help="Folder that holds the runs.", callback=_there)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key, as in optimizer.lr=1e-3.")
]
StudyArgument = Annotated[Path, typer.Argument(help="A study file, as in recipes/studies/reproduce.yaml.")]
StudySetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of every base recipe, or of follow-ups, glue.lr=1e-3."
    ),
]
StudyDataOption = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="NAME=DIR", help="Where data of follow-ups is, as in glue=GLUE or zero-shot=eval."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
WhereOption = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION", help="Only runs that match, as in 'activation=raf and val_loss<4 and optimizer.lr>=1e-3'."
    ),
]

RUNS = Path("runs")
MOST_SEEDS = 10_000  # of a range


def say(message: str) -> None:
    """Tells the user how things go, on stderr."""
    print(message, file=sys.stderr, flush=True)


def runs_where(root: Path, expression: str) -> list[Run]:
    """The runs under `root` that an expression matches. Tells of those that cannot be read."""
    from actbench.store.select import runs_matching

    found, damaged = runs_matching(root, expression)
    tell_left_out(damaged)
    return found


def all_runs(root: Path) -> list[Run]:
    """The runs under `root`. Tells of those that cannot be read."""
    from actbench.store import Run
    from actbench.store.index import records

    found, damaged = records(root)
    tell_left_out(damaged)
    return [Run(record.folder) for record in found]


def tell_left_out(damaged: Mapping[str, str]) -> None:
    """Names the runs that cannot be read, each with its reason."""
    for name, reason in damaged.items():
        say(f"left out: {name}: {reason}")


def print_json(data: Any) -> None:
    """Prints the one JSON object of a `--json` call on stdout."""
    print(json.dumps(data, ensure_ascii=False))


def study_changes(keys: list[str] | None, data: list[str] | None) -> Changes:
    """What --set and --data say of a study. Raises BadInput for what is not NAME=DIR."""
    from actbench.errors import BadInput, Problem
    from actbench.study import Changes

    pairs = [text.partition("=") for text in data or []]
    problems = [Problem("expected NAME=DIR", f"--data {''.join(pair)}") for pair in pairs if not all(pair)]
    if problems:
        raise BadInput(problems)
    return Changes(tuple(keys or ()), {name: folder for name, _, folder in pairs})


def parse_seeds(text: str) -> list[int]:
    """The seeds that "0-4" or "0,1,7" or "3" means. Raises BadInput for anything else."""
    from actbench.errors import BadInput, Problem

    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        whole = first.isdecimal() and (last.isdecimal() if dash else True)
        if not whole or len(first + last) > 18 or int(last or first) < int(first):
            raise BadInput(Problem(f"'{part}' is not a seed or a range of seeds", "--seeds", hint="as in 0-4 or 0,1,7"))
        if int(last or first) - int(first) >= MOST_SEEDS:
            raise BadInput(Problem(f"'{part}' are more than {MOST_SEEDS:,} seeds", "--seeds"))
        seeds.extend(range(int(first), int(last or first) + 1))
    return list(dict.fromkeys(seeds))
