"""Zero-shot tasks: what a decoder is asked, and which continuation is right. Read from request files on disk.

A request file is JSON lines, plain or gzipped, one row a continuation, as OLMES writes them: `doc_id` and `idx` number
the item and its continuation, `request` holds `context` and `continuation`, `doc.gold` the right continuation's number.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from actbench.errors import BadInput, Problem, nearest

OFFICIAL = {"piqa": 1838, "arc_easy": 570, "sciq": 1000, "boolq": 3270, "lambada": 5153}
"""Items of the sets that are usually scored: LAMBADA's test set, the others' validation sets."""

UNCONDITIONAL = 1_000_000  # from this doc_id on, rows repeat an item's continuations without its question
METRIC_NAMES = {"acc_raw": "acc", "acc_per_char": "acc_norm"}  # OLMES' names of what heads a task
SUFFIXES = (".jsonl", ".jsonl.gz")

Kind = Literal["choice", "last word", "pairs"]
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A text to score, after another: the space between them belongs to the continuation."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Item:
    """A question: one of its requests, `gold`, should be the likeliest. `group` is a BLiMP paradigm."""

    id: str
    requests: tuple[Request, ...]
    gold: int = 0
    group: str = ""


@dataclass(frozen=True)
class RequestTask:
    """A task's items. `headline` is the metric that stands for the task in tables.

    "choice": the likeliest of several. "last word": the word that greedy decoding gives. "pairs": the likelier of two
    sentences. `facts` is JSON data for a run's record: where the items came from, how many, and whether they are a
    subset.
    """

    name: str
    kind: Kind
    items: tuple[Item, ...]
    headline: str
    facts: dict[str, Any]


def has_requests(name: str, data: Path) -> bool:
    """Whether the folder `data` holds a task's request files."""
    return _task_folder(name, data) is not None


def load_requests(name: str, data: Path, limit: int | None) -> RequestTask:
    """The task from DATA/NAME or DATA/requests/NAME, its first `limit` items or all of them.

    Raises BadInput for a missing or broken file, naming file and line.
    """
    folder = _request_folder(name, data)
    config = _config(folder)
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)]
    items = [item for path in files for item in _items(path)]
    if not items:
        raise BadInput(Problem("no items", where=str(folder)))
    of = max(OFFICIAL.get(name, 0), int(config.get("num_instances") or 0), len(items))
    items = items[:limit]
    kind: Kind = "last word" if all(len(item.requests) == 1 for item in items) else "choice"
    settings = config.get("task_config", {})
    headline = METRIC_NAMES.get(settings.get("primary_metric"), "acc") if kind == "choice" else "acc"
    facts = {
        "source": "files",
        "folder": str(folder),
        "files": {path.name: _sha256(path) for path in files},
        "split": settings.get("split"),
        "shots": int(settings.get("num_shots") or 0),
        "items": len(items),
        "of": of,
        "subset": len(items) < of,
        "items_sha256": digest(items),
    }
    return RequestTask(name, kind, tuple(items), headline, facts)


def digest(items: Sequence[Item]) -> str:
    """The sha256 of all that is asked, in hexadecimal: the same wherever it was read from."""
    total = hashlib.sha256()
    for item in items:
        asked = [[request.context, request.continuation] for request in item.requests]
        total.update(json.dumps([asked, item.gold, item.group]).encode() + b"\n")
    return total.hexdigest()


def read_rows(path: Path, parse: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """What `parse` makes of every row of a JSON-lines file, plain or gzipped.

    Raises BadInput, naming the line, where a row is no JSON object or not of the shape that `parse` expects.
    """
    number = 0
    opened = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield parse(json.loads(line))
    except KeyError as error:
        raise BadInput(Problem(f"no key {error}", where=f"{path}:{number}")) from None
    except (AttributeError, TypeError, ValueError, EOFError, gzip.BadGzipFile) as error:
        raise BadInput(Problem(f"cannot be read: {error}", where=f"{path}:{max(number, 1)}")) from None


def _task_folder(name: str, data: Path) -> Path | None:
    return next((folder for folder in (data / name, data / "requests" / name) if folder.is_dir()), None)


def _request_folder(name: str, data: Path) -> Path:
    """The one folder with the task's files: of several, the only one that its config.json calls zero-shot."""
    folder = _task_folder(name, data)
    if folder is None:
        around = [path.name for place in (data, data / "requests") if place.is_dir() for path in place.iterdir()]
        raise BadInput(Problem(f"no folder {name} here", where=str(data), hint=nearest(name, around)))
    found = sorted({path.parent for path in folder.rglob("*.jsonl*") if path.name.endswith(SUFFIXES)})
    if not found:
        raise BadInput(Problem("no request file here", where=str(folder), hint=f"files end in {' or '.join(SUFFIXES)}"))
    if len(found) > 1:
        found = [path for path in found if _config(path).get("task_config", {}).get("num_shots") == 0] or found
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise BadInput(Problem(f"several sets of requests: {names}", where=str(folder), hint="leave one in the folder"))
    return found[0]


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise BadInput(Problem(f"cannot be read: {error}", where=str(path))) from None


def _items(path: Path) -> Iterator[Item]:
    rows: dict[int, list[tuple[Request, int | None]]] = {}
    for doc, idx, request, gold in read_rows(path, _row):
        if doc < UNCONDITIONAL:
            known = rows.setdefault(doc, [])
            if idx != len(known):
                problem = f"item {doc}: continuation {idx} where {len(known)} should come"
                raise BadInput(Problem(problem, where=str(path)))
            known.append((request, gold))
    for doc, known in rows.items():
        gold = known[0][1]
        if gold is None and len(known) > 1:
            raise BadInput(Problem(f"item {doc}: no doc.gold says which continuation is right", where=str(path)))
        if gold is not None and not 0 <= gold < len(known):
            raise BadInput(Problem(f"item {doc}: gold is {gold} of {len(known)} continuations", where=str(path)))
        yield Item(str(doc), tuple(request for request, _ in known), gold or 0)


def _row(row: dict[str, Any]) -> tuple[int, int, Request, int | None]:
    asked, gold = row["request"], row["doc"].get("gold")
    request = Request(asked["context"], asked["continuation"])
    if not isinstance(request.context, str) or not request.continuation.strip():
        raise ValueError("context and continuation must be texts, the continuation not empty")
    return int(row["doc_id"]), int(row["idx"]), request, None if gold is None else int(gold)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
