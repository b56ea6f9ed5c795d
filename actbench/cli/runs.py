"""`actbench runs`: what has been trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli import runs_test
from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json, say
from actbench.errors import BadInput

if TYPE_CHECKING:
    from actbench.store import Run

app = typer.Typer(no_args_is_help=True, help="What has been trained.")
app.command("test")(runs_test.test)


@app.command("list")
def list_(runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """List all runs with their results.

    Example: actbench runs list
    """
    from actbench.store import list_runs

    rows = []
    for run in list_runs(runs):
        try:
            rows.append(_row(run))
        except (BadInput, KeyError) as error:
            say(f"left out: {run.folder}: {error}")
    if as_json:
        print_json({"runs": rows})
        return
    from actbench.cli.show import print_rows, readable

    if not rows:
        print(f"no runs in {runs}/")
        return
    print_rows(list(rows[0]), [[readable(key, value) for key, value in row.items()] for row in rows])


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's folder, name, or a beginning of its name.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its recorded sha256.")] = False,
    runs: RunsOption = RUNS,
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
        print_json({**facts, "damaged": damaged} if verify else facts)
    else:
        _print(found)
    if damaged:
        raise RunFailed(f"{found.id}: damaged: {', '.join(damaged)}")


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run.id, "kind": run.kind, "status": run.status, "activation": run.activation}
    summary = run.manifest["summary"] if run.manifest else {}
    row["loss"] = summary.get("validation_loss")
    headline = summary.get("headline")
    row["score"] = f"{headline['metric']} {headline['value']:.4f}" if headline else None
    return row


def _print(run: Run) -> None:
    from actbench.cli.show import print_facts

    info = run.info
    facts = {"run": run.id, "kind": run.kind, "status": run.status, "created": info["created"]}
    print_facts({**facts, "activation": info["recipe"]["model"]["activation"], "seed": run.seed})
    print_facts(run.manifest["summary"] if run.manifest else {}, title="results" if run.manifest else "")
    for section in ("model", "hardware", "environment"):
        if section in info:
            print_facts(info[section], title=section)
