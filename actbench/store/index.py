"""What lists and searches read of thousands of runs: their records, kept in one file beside them.

`.index` is a cache. The files of every run are looked at each time, and read again where they changed; an index that is
missing, damaged or of another version is made anew, and one that cannot be written is done without.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from actbench.errors import BadInput
from actbench.store.atomic import replacing
from actbench.store.run import Run, subfolders

INDEX = ".index"
VERSION = 1  # of what a line holds

# Short names of what runs are most often asked for; they hide a recipe's section or key of the same name.
COLUMNS = (
    "run", "kind", "status", "activation", "model", "seed", "task", "loss", "metric", "score", "created", "parent",
)  # fmt: skip
UNFINISHED = "/-"
ALIASES = {"val_loss": "loss", "validation_loss": "loss", "name": "model"}


@dataclass(frozen=True)
class Record:
    """What one run's files say: the columns but the status, and as JSON not read yet, the results and the recipe."""

    root: Path
    id: str
    stamp: str
    facts: dict[str, Any]
    results: str = field(repr=False)
    recipe: str = field(repr=False)  # without seed and name, so that many runs share it

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.root / self.id

    @cached_property
    def status(self) -> str:
        """The run's state now: that of an unfinished run changes while no file of it does."""
        return "finished" if not self.stamp.endswith(UNFINISHED) else Run(self.folder).status

    @property
    def sections(self) -> Iterator[dict[str, Any]]:
        """Where keys are looked for, in order: the recipe, the results, and what is said of fine-tuning."""
        yield _read_once(self.recipe)
        yield from self._results_read

    @cached_property
    def _results_read(self) -> list[dict[str, Any]]:
        return list(json.loads(self.results))

    def value(self, key: str) -> Any:
        """A column, or a dotted key of the summary or the recipe. None where the run has none."""
        key = ALIASES.get(key, key)
        if key == "status":
            return self.status
        if key in self.facts:
            return self.facts[key]
        return next((value for section in self.sections if (value := _dotted(section, key)) is not None), None)

    def keys(self) -> Iterator[str]:
        """Every dotted key it has a value for."""
        for section in self.sections:
            yield from (key for key, _ in flat(section))

    def knows(self, key: str) -> bool:
        """Whether its files mention the key, with a value or without."""
        return any(_mentions(section, key) for section in self.sections)


def records(root: Path) -> tuple[list[Record], dict[str, str]]:
    """Every run under `root` by name, and for those that cannot be read, why."""
    known = _load(root / INDEX)
    found: list[Record] = []
    damaged: dict[str, str] = {}
    changed = False
    for name, stamp in _stamps(root):
        texts = known.get((name, stamp))
        if texts is None:
            try:
                texts = record(Run(root / name))
            except (BadInput, KeyError, TypeError, ValueError, AttributeError) as error:
                damaged[name] = str(error) if isinstance(error, BadInput) else f"damaged: {error!r}"
                continue
            changed = True
        found.append(Record(root, name, stamp, *texts))
    if changed or len(found) < len(known):
        _save(root / INDEX, found)
    return found, damaged


def flat(section: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of nested sections, with their values; an empty section is a value."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _stamps(root: Path) -> Iterator[tuple[str, str]]:
    """Each run's name, and what changes when its record does: times, sizes and places of its two files."""
    base = str(root)
    for name in subfolders(root):
        with contextlib.suppress(FileNotFoundError):  # no run, or removed at this moment
            run = _stamp(f"{base}/{name}/run.json")
            try:
                yield name, f"{run}/{_stamp(f'{base}/{name}/manifest.json')}"
            except FileNotFoundError:
                yield name, run + UNFINISHED


def _stamp(path: str) -> str:
    found = os.stat(path)  # noqa: PTH116 -- twice as fast as a Path's, and there are thousands
    return f"{found.st_mtime_ns}.{found.st_size}.{found.st_ino}"


def record(run: Run) -> tuple[dict[str, Any], str, str]:
    """A run's facts, results and recipe. Raises BadInput or what else a lookup raises where the run is damaged."""
    info = run.info
    summary = run.manifest["summary"] if run.manifest is not None else {}
    headline = summary.get("headline") or {}
    facts = {
        "run": run.id,
        "kind": run.kind,
        "activation": run.activation,
        "model": info["recipe"].get("name"),
        "seed": info["recipe"].get("seed"),
        "task": (info.get("task") or {}).get("name"),
        "loss": summary.get("validation_loss"),
        "metric": headline.get("metric"),
        "score": headline.get("value"),
        "created": info.get("created"),
        "parent": info.get("parent"),
    }
    finetuning = {key: info[key] for key in ("finetune", "finetune_seed") if key in info}
    recipe = {key: value for key, value in info["recipe"].items() if key not in ("seed", "name")}
    return facts, _compact([summary, finetuning]), _compact(recipe)


@lru_cache(maxsize=4096)
def _read_once(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _compact(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))


def _load(path: Path) -> dict[tuple[str, str], tuple[dict[str, Any], str, str]]:
    """{(run, stamp): (facts, results, recipe)}; empty where the index cannot be trusted."""
    try:
        header, _, body = path.read_bytes().partition(b"\n")
        if header != _header(body):
            return {}
        lines = [line.split("\t") for line in body.decode().split("\n")[:-1]]
        all_facts = json.loads("[" + ",".join(line[1] for line in lines) + "]")
        return {
            (facts["run"], stamp): (facts, results, recipe)
            for facts, (stamp, _, results, recipe) in zip(all_facts, lines, strict=True)
        }
    except (OSError, ValueError):
        return {}


def _save(path: Path, found: Iterable[Record]) -> None:
    # JSON in ASCII holds neither a tab nor a line's end, whatever a run is called.
    lines = (f"{r.stamp}\t{_compact(r.facts)}\t{r.results}\t{r.recipe}\n" for r in found)
    body = "".join(lines).encode()
    with contextlib.suppress(OSError), replacing(path) as temporary:  # of two writers the last one's stands, whole
        temporary.write_bytes(_header(body) + b"\n" + body)


def _header(body: bytes) -> bytes:
    return f"actbench index {VERSION} {zlib.crc32(body):08x}".encode()


def _dotted(section: Any, key: str) -> Any:
    for part in key.split("."):
        section = section.get(part) if isinstance(section, dict) else None
    return section


def _mentions(section: Any, key: str) -> bool:
    *above, last = key.split(".")
    inner = _dotted(section, ".".join(above)) if above else section
    return isinstance(inner, dict) and last in inner
