"""`actbench runs rm`: remove runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, LookInOption, WhereOption, print_json, say

if TYPE_CHECKING:
    from actbench.store import Run


def remove(
    run: Annotated[list[str] | None, typer.Argument(help="Runs: folders, names, or beginnings of names.")] = None,
    where: WhereOption = None,
    children: Annotated[
        bool, typer.Option("--with-children", help="Remove what was fine-tuned from these runs too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Remove runs for good. Asks first; runs in training and parents of fine-tuned runs stay.

    Example: actbench runs rm --where 'status=failed' --dry-run
    """
    from actbench.errors import BadInput, Problem
    from actbench.store import Run, find_run
    from actbench.store.index import records
    from actbench.store.remove import check_removable, clean, size_bytes, with_children
    from actbench.store.remove import remove as remove_one
    from actbench.store.select import matching

    if bool(run) == (where is not None):
        raise BadInput(Problem("which runs?", hint="give names, or --where with an expression, and not both"))
    found, damaged = records(runs)
    if where is None:
        chosen = list({one.id: one for one in (find_run(reference, runs) for reference in run or [])}.values())
    else:
        chosen = [Run(record.folder) for record in matching(found, where)]
    chosen = with_children(chosen, runs, found, damaged) if children else chosen
    check_removable(chosen, runs, found, damaged)
    size = sum(size_bytes(one) for one in chosen)
    if not dry_run and chosen and not yes and not _confirmed(chosen, size):
        say("nothing removed")
        return
    if not dry_run:
        clean(runs)
        for one in chosen:
            remove_one(one)
    _tell(chosen, size, dry_run, as_json)


def _confirmed(chosen: list[Run], size: int) -> bool:
    from actbench.errors import BadInput, Problem

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(Problem("no terminal to ask for confirmation on", hint="--yes removes without asking"))
    for one in chosen:
        say(one.id)
    print(
        f"runs to remove for good: {len(chosen)} ({size / 2**20:,.1f} MiB). Go on? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(chosen: list[Run], size: int, dry_run: bool, as_json: bool) -> None:
    names = [one.id for one in chosen]
    if as_json:
        print_json({"would_remove" if dry_run else "removed": names, "bytes": size})
        return
    for name in names:
        print(name)
    say(f"{'runs that would be removed' if dry_run else 'runs removed'}: {len(names)} ({size / 2**20:,.1f} MiB)")
