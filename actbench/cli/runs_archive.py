"""`actbench runs export` and `import`: runs as one file, for a reader elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, WhereOption, print_json, runs_where, say

if TYPE_CHECKING:
    from actbench.store import Run


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The archive to write, FILE.tar.")],
    run: Annotated[list[str] | None, typer.Argument(help="Runs: folders, names, or beginnings of names.")] = None,
    where: WhereOption = None,
    parents: Annotated[
        bool, typer.Option("--with-parents", help="Take the runs too that these were made from.")
    ] = False,
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Leave the model's weights out.")] = False,
    with_checkpoints: Annotated[
        bool, typer.Option("--with-checkpoints", help="Take the training state too, to go on from.")
    ] = False,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Write finished runs into one archive, with all that a reader needs to check them.

    With names and --where, all that are named and all that match.

    Example: actbench runs export bert-nano-raf-s0 bert-nano-gelu-s0 -o pair.tar
    """
    from actbench.store.archive import export as write

    chosen = _chosen(run or [], where, runs)
    chosen = _with_parents(chosen) if parents else chosen
    done = write(chosen, output, weights=not no_weights, checkpoints=with_checkpoints)
    hint = "" if parents else " (--with-parents takes it too)"
    for orphan in done.orphans:
        say(f"note: {orphan} was made from a run that is not in the archive{hint}")
    if as_json:
        print_json({"archive": str(output), **done.facts()})
    else:
        say(f"{output}: runs: {len(done.runs)}, files: {done.files}, {done.bytes / 2**20:,.1f} MiB")


def import_(
    archive: Annotated[Path, typer.Argument(help="An archive that 'actbench runs export' made.")],
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Take an archive's runs in, all of them or none, after verifying every file's hash.

    Example: actbench runs import pair.tar
    """
    from actbench.store.arrival import import_archive

    done = import_archive(archive, runs)
    if as_json:
        print_json(done.facts())
    for name, missing in done.here.items():
        lacking = f", without {', '.join(missing)}; remove it to import it anew" if missing else ""
        say(f"{name} is here already{lacking}")
    for name, left_out in done.left_out.items():
        say(f"{name} came without {', '.join(left_out)}")
    for name in done.with_code:
        say(f"{name} brings code of its own, which runs when its model is loaded: read its activation-*.py first")
    for name in done.new if not as_json else ():
        print(name)


def _chosen(names: list[str], where: str | None, runs: Path) -> list[Run]:
    """The runs that are named and those that match. Raises BadInput without either, or where nothing matches."""
    from actbench.errors import BadInput, Problem
    from actbench.store import find_run

    if not names and where is None:
        raise BadInput(Problem("which runs?", hint="give names, or --where with an expression"))
    found = [find_run(reference, runs) for reference in names]
    if where is None:
        return found
    matching = runs_where(runs, where)
    if not matching:
        raise BadInput(Problem(f"no run in {runs}/ matches", f"--where {where}", hint="actbench runs list shows all"))
    return [*found, *matching]


def _with_parents(chosen: list[Run]) -> list[Run]:
    """The runs, and all that they were made from as far as that lies beside them."""
    from actbench.store import Run

    taken: dict[str, Run] = {}
    left = list(chosen)
    while left:
        run = left.pop()
        if run.id not in taken and (run.folder / "run.json").is_file():
            taken[run.id] = run
            left += [Run(run.folder.parent / run.info["parent"])] if "parent" in run.info else []
    return list(taken.values())
