"""Where a report's numbers come from: the runs, what they recorded of their data and machines, and their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actbench.analysis.cohorts import ANALYSIS, cohorts, data_hash, seed_key
from actbench.analysis.compare import Differing, asked, differing
from actbench.analysis.labels import labels
from actbench.report import numbers
from actbench.report.numbers import NOTHING
from actbench.report.table import Row, Table, columns
from actbench.report.tables import LOSS_DIGITS, SCORE_DIGITS
from actbench.store import Run
from actbench.store.index import flat

LONG = 40  # characters above which a recipe's value is cut short
MANY = 8  # differences above which only their number is told
HASH = 12  # hex digits shown of a sha256; the CSV has all
FACTS = ("data", "hardware", "environment")  # of run.json, a table each
HASHED = ("model.safetensors", "metrics.jsonl", "activations.json")


def runs_table(runs: Sequence[Run], baseline: str, chosen: Sequence[str] = ()) -> Table:
    """Every run, finished or not: what it is, what came out, and what its recipe changes in the baseline run's."""
    heads = (
        *columns("run", "kind", "activation", "seed", "status"),
        *columns("result", "time", numeric=True),
        *columns(f"recipe beside the {baseline} run of the same seed"),
    )
    partners = _partners(runs, baseline, chosen)
    rows = tuple(_run_row(run, name, partners.get(run.id)) for run, name in zip(runs, labels(runs), strict=True))
    notes = ("Result: validation loss or loss in nats, or headline score in percent.",)
    return Table("Runs", heads, rows, notes, "runs")


def hashes_table(runs: Sequence[Run]) -> Table:
    """What to check a run by: the hash of all that decides its result, of its data, and of what it left."""
    heads = columns("run", "identity", "data", *HASHED)
    note = f"sha256, the first {HASH} digits. actbench runs show RUN --verify compares the files with them."
    return Table("Hashes", heads, tuple(map(_hash_row, runs)), (note,), "hashes")


def facts_table(name: str, runs: Sequence[Run]) -> Table:
    """What the runs' run.json hold under `name`: a row a fact and value, with the runs that say so."""
    said: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        for fact, value in flat(run.info.get(name, {})):
            if value != {}:
                said.setdefault(fact, {}).setdefault(_text(value), []).append(run.id)
    rows = tuple(
        Row((fact, value, _share(len(ids), len(runs))), {"fact": fact, "value": value}, tuple(ids))
        for fact, values in sorted(said.items())
        for value, ids in values.items()
    )
    return Table(name.capitalize(), (*columns("fact", "value"), *columns("runs", numeric=True)), rows, (), name)


def _share(number: int, of: int) -> str:
    return "all" if number == of else str(number)


def _partners(runs: Sequence[Run], baseline: str, chosen: Sequence[str]) -> dict[str, Run]:
    """By run: the baseline's run of the same cohort and seeds, where there is one."""
    found = {}
    for cohort in cohorts(runs, chosen):
        partner = cohort.called(baseline)
        for variant in cohort.variants if partner else ():
            for run in (*variant.runs.values(), *variant.repeats, *variant.left):
                if partner and seed_key(run) in partner.runs:
                    found[run.id] = partner.runs[seed_key(run)]
    return found


def _run_row(run: Run, activation: str, partner: Run | None) -> Row:
    on = _subject(run)
    kind = f"{run.kind} {on}" if on else run.kind
    seed = f"{run.seed}/{run.info['finetune_seed']}" if "finetune_seed" in run.info else str(run.seed)
    seconds = run.summary["seconds"] if run.status == "finished" and not run.imported else None
    status = f"failed: {run.failure}" if run.status == "failed" else run.status
    differences = None if partner is None else differing(asked(partner), asked(run))
    result, shown = _result(run)
    time = NOTHING if seconds is None else numbers.duration(seconds)
    beside = _beside(run, partner, differences)
    values = {"run": run.id, "kind": kind, "activation": activation, "seed": seed, "status": status, "result": result}
    recipe = [{"key": d.key, "baseline": d.a, "run": d.b} for d in differences or ()]
    cells = (run.id, kind, activation, seed, status, shown, time, beside)
    beside_values = {"baseline_run": partner.id if partner else None, "recipe_difference": recipe}
    return Row(cells, {**values, "seconds": seconds, **beside_values}, (run.id,))


def _subject(run: Run) -> str:
    """What a run is about besides its model: its task, its text, or which analysis it is."""
    if run.kind == ANALYSIS:
        return str(run.info["analysis"]["name"])
    return str(run.info["task"]["name"] if "task" in run.info else run.info["data"].get("text", ""))


def _result(run: Run) -> tuple[float | None, str]:
    if run.status != "finished" or run.imported or run.kind == ANALYSIS:
        return None, NOTHING
    if "task" in run.info:
        score = 100 * float(run.summary["headline"]["value"])
        return score, f"{score:.{SCORE_DIGITS}f}"
    loss = float(run.summary["validation_loss" if run.kind == "pretrain" else "loss"])
    return loss, f"{loss:.{LOSS_DIGITS}f}"


def _beside(run: Run, partner: Run | None, differences: Sequence[Differing] | None) -> str:
    """What the run's recipe changes, in words."""
    if partner is None or differences is None:
        return "no such run"
    if partner.id == run.id:
        return "the baseline itself"
    if not differences:
        return "nothing"
    if len(differences) > MANY:
        return f"{len(differences)} keys"
    return "; ".join(f"{d.key}: {_short(d.a)} \N{RIGHTWARDS ARROW} {_short(d.b)}" for d in differences)


def _short(value: Any) -> str:
    text = NOTHING if value is None else str(value)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}\N{HORIZONTAL ELLIPSIS}"


def _hash_row(run: Run) -> Row:
    files: Mapping[str, str] = run.manifest["files"] if run.manifest and "files" in run.manifest else {}
    identity = run.id.rpartition("-")[2]
    data = data_hash(run)
    hashes = {name: files.get(name) for name in HASHED}
    cells = (run.id, identity, *((value or NOTHING)[:HASH] for value in (data, *hashes.values())))
    return Row(cells, {"run": run.id, "identity": identity, "data": data, "files": hashes}, (run.id,))


def _text(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return numbers.plural(len(value), "item")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)
