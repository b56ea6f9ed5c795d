"""`actbench runs`: what has been trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli import runs_archive, runs_compare, runs_import_hf, runs_remove, runs_test
from actbench.cli.common import RUNS, JsonOption, LookInOption, WhereOption, print_json, say, tell_left_out

if TYPE_CHECKING:
    from actbench.store import Run
    from actbench.store.index import Record

app = typer.Typer(no_args_is_help=True, help="What has been trained.")

SHOWN = "run,kind,status,activation,loss,metric,score"


@app.command("list")
def list_(
    where: WhereOption = None,
    sort: Annotated[
        str, typer.Option(metavar="KEY", help="Order by a column, or a key of the recipe or results.")
    ] = "run",
    descending: Annotated[bool, typer.Option("--descending", help="The greatest first.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many runs at most.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Comma-separated: columns, keys of the recipe or results.")
    ] = None,
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """List runs with their results: all, or those that match.

    Example: actbench runs list --where 'activation=raf and val_loss<4' --sort val_loss
    """
    import gc

    from actbench.store.index import COLUMNS, records
    from actbench.store.select import check_keys, matching, ordered

    gc.disable()  # thousands of runs are many objects, and all are needed until the end
    found, damaged = records(runs)
    tell_left_out(damaged)
    chosen = [key.strip() for key in (columns or (",".join(COLUMNS) if as_json else SHOWN)).split(",")]
    check_keys([(key, "--columns") for key in chosen], found)
    kept = found if where is None else matching(found, where)
    kept = ordered(kept, sort, descending=descending)[:limit]
    if as_json:
        print_json({"runs": [{key: record.value(key) for key in chosen} for record in kept]})
        return
    from actbench.cli.show import print_rows, readable

    if not kept:
        print(_none(found, where, runs))
        return
    print_rows(chosen, [[readable(key, record.value(key)) for key in chosen] for record in kept])


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's folder, name, or a beginning of its name.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its recorded sha256.")] = False,
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its state, results, and what it was made with.

    Example: actbench runs show bert-nano-raf-s0
    """
    from actbench.errors import RunFailed
    from actbench.store import find_run

    found = find_run(run, runs)
    damaged = found.damaged_files() if verify else []
    facts = {"run": found.id, "status": found.status, "manifest": found.manifest, "info": found.info}
    if as_json:
        print_json({**facts, "damaged": damaged, "left_out": found.left_out} if verify else facts)
    else:
        _print(found)
    if verify and found.left_out:
        say(f"not here and not checked, as its archive came without: {', '.join(found.left_out)}")
    if damaged:
        raise RunFailed(f"{found.id}: damaged: {', '.join(damaged)}")


app.command("compare")(runs_compare.compare)
app.command("test")(runs_test.test)
app.command("rm")(runs_remove.remove)
app.command("export")(runs_archive.export)
app.command("import")(runs_archive.import_)
app.command("import-hf")(runs_import_hf.import_hf)


def _none(found: Sequence[Record], where: str | None, runs: Path) -> str:
    """What is said instead of an empty table."""
    from actbench.store.select import meant

    if not found:
        return f"no runs in {runs}/"
    hint = meant(found, where) if where else ""
    return f"none of {len(found)} runs matches" + (f" ({hint})" if hint else "")


def _print(run: Run) -> None:
    from actbench.cli.show import print_facts

    info = run.info
    facts = {"run": run.id, "kind": run.kind, "status": run.status, "created": info["created"]}
    print_facts({**facts, "activation": info["recipe"]["model"]["activation"], "seed": run.seed})
    print_facts(run.manifest["summary"] if run.manifest else {}, title="results" if run.manifest else "")
    for section in ("model", "hardware", "environment"):
        if section in info:
            print_facts(info[section], title=section)
