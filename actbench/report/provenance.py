"""Where a report's numbers come from: the runs, and what they recorded of their data and machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actbench.analysis.cohorts import data_hash
from actbench.analysis.labels import labels
from actbench.report.numbers import NOTHING, plural
from actbench.report.table import Column, Row, Table
from actbench.store import Run


def runs_table(runs: Sequence[Run]) -> Table:
    """Every run, finished or not: what it is, what it computed with, on which data, for how long."""
    titles = ("run", "kind", "activation", "seed", "hash", "status", "precision", "data")
    columns = (*(Column(title) for title in titles), Column("seconds", numeric=True))
    return Table("Runs", columns, tuple(_run_row(run, name) for run, name in zip(runs, labels(runs), strict=True)))


def facts_table(title: str, runs: Sequence[Run], key: str) -> Table:
    """What the runs' run.json hold under `key`, a row a fact; where they disagree, how many say what."""
    said: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        for name, value in _flat(run.info.get(key, {})):
            said.setdefault(name, {}).setdefault(value, []).append(run.id)
    rows = tuple(_fact_row(name, values, len(runs)) for name, values in sorted(said.items()))
    return Table(title, (Column("fact"), Column("value")), rows)


def _run_row(run: Run, activation: str) -> Row:
    seed = f"{run.seed}/{run.info['finetune_seed']}" if run.kind == "finetune" else str(run.seed)
    seconds = run.summary["seconds"] if run.status == "finished" else None
    of = {"finetune": ("task", "name"), "evaluate": ("data", "text")}.get(run.kind)
    kind = run.kind if of is None else f"{run.kind} {run.info[of[0]][of[1]]}"
    values = {
        "run": run.id,
        "kind": kind,
        "activation": activation,
        "seed": seed,
        "hash": run.id.rpartition("-")[2],
        "status": run.status,
        "precision": run.info["hardware"]["precision"],
        "data": data_hash(run) or NOTHING,
    }
    shown = f"{seconds:,.0f}" if seconds is not None else NOTHING
    cells = (*map(str, {**values, "data": values["data"][:8]}.values()), shown)
    return Row(cells, {**values, "seconds": seconds}, (run.id,))


def _fact_row(name: str, values: dict[str, list[str]], total: int) -> Row:
    if len(values) == 1 and len(next(iter(values.values()))) == total:
        shown = next(iter(values))
    else:
        shown = "; ".join(f"{value} ({plural(len(ids), 'run')})" for value, ids in values.items())
    return Row((name, shown), {"fact": name, "values": values}, tuple(i for ids in values.values() for i in ids))


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as dotted names: {"libraries": {"torch": "2.9"}} is ("libraries.torch", "2.9")."""
    found = []
    for key, value in facts.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            found.append((f"{prefix}{key}", plural(len(value), "item")))
        elif isinstance(value, list):
            found.append((f"{prefix}{key}", ", ".join(map(str, value))))
        else:
            found.append((f"{prefix}{key}", f"{value:,}" if type(value) is int else str(value)))
    return found
