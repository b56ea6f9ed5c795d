"""`actbench data`: tokens before training, and what the cache holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli.common import JsonOption, SetOption, print_json, say

if TYPE_CHECKING:
    from actbench.data.prepared import Prepared

app = typer.Typer(no_args_is_help=True, help="Tokenise and pack texts before training; list and clear the cache.")


@app.command()
def prepare(
    recipe: Annotated[Path, typer.Option("--recipe", "-r", help="A recipe file, as in recipes/nano/bert.yaml.")],
    overrides: SetOption = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that tokenise; default: one a core. They change no token.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tokenise and pack a recipe's texts into the cache, where training finds them.

    Stopped, it goes on from what was finished.

    Example: actbench data prepare --recipe recipes/nano/bert.yaml --jobs 2
    """
    import time

    from actbench.cli.data_progress import shown
    from actbench.config import load_recipe
    from actbench.data.prepared import prepare_recipe
    from actbench.training.signals import interruptible

    loaded = load_recipe(recipe, overrides or [])
    began = time.perf_counter()
    with interruptible("stopped; the same command goes on from what was finished"), shown() as watch:
        prepared = prepare_recipe(loaded, say, jobs or _cores(), watch)
    facts = _facts(prepared, time.perf_counter() - began)
    if as_json:
        print_json(facts)
        return
    from actbench.cli.show import print_facts

    print_facts(facts)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List what the cache holds, finished or not, and how large it is.

    Example: actbench data list
    """
    from actbench.data import cache

    entries = [_entry(place) for place in cache.places()]
    if as_json:
        print_json({"cache": str(cache.root()), "entries": entries})
        return
    from actbench.cli.show import print_rows, readable

    if not entries:
        print(f"nothing in {cache.root()}")
        return
    columns = ("entry", "state", "size_bytes", "tokens", "text")
    print_rows(columns, [[readable(key, entry[key]) for key in columns] for entry in entries])


@app.command("rm")
def remove(
    entry: Annotated[list[str], typer.Argument(help="Entries, as `data list` names them, or beginnings of names.")],
    as_json: JsonOption = False,
) -> None:
    """Remove entries of the cache: what needs them packs them again. One that is being packed stays.

    Example: actbench data rm tokens/3f9a
    """
    from actbench.data import cache
    from actbench.errors import BadInput, Problem, nearest

    places = cache.places()
    names = ["/".join(place.parts[-2:]) for place in places]
    chosen = [place for place, name in zip(places, names, strict=True) if name.startswith(tuple(entry))]
    unknown = [word for word in entry if not any(name.startswith(word) for name in names)]
    if unknown:
        raise BadInput(Problem("no such entry", word, hint=nearest(word, names)) for word in unknown)
    freed = sum(cache.remove(place) for place in chosen)
    removed = ["/".join(place.parts[-2:]) for place in chosen]
    if as_json:
        print_json({"removed": removed, "bytes": freed})
        return
    for name in removed:
        print(name)
    say(f"removed {len(removed)} entries ({freed / 2**20:,.1f} MiB)")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _facts(prepared: Prepared, seconds: float) -> dict[str, Any]:
    corpus = prepared.corpus
    splits = corpus.facts["splits"]
    size = sum(split["bytes"] for split in splits.values())
    return {
        "folder": str(corpus.tokenizer_file.parent),
        "hash": corpus.hash,
        "vocabulary": corpus.facts["vocabulary_size"],
        "text_bytes": size,
        "documents": {name: split["documents"] for name, split in splits.items()},
        "tokens": {name: split["tokens"] for name, split in splits.items()},
        **({"parts": corpus.facts["parts"]} if "parts" in corpus.facts else {}),
        **({"validation_sets": {name: one.facts for name, one in prepared.sets.items()}} if prepared.sets else {}),
        "seconds": seconds,
        "mb_per_second": size / 1e6 / seconds if corpus.built else None,
    }


def _entry(place: Path) -> dict[str, Any]:
    from actbench.data import cache

    entry = cache.open_entry(place.parent.name, place.name)
    facts = entry.facts if entry else {}
    splits = facts.get("splits")
    return {
        "entry": f"{place.parent.name}/{place.name}",
        "state": "whole" if entry else "unfinished",
        "size_bytes": cache.size_bytes(place),
        "tokens": sum(split["tokens"] for split in splits.values()) if splits else facts.get("tokens"),
        "text": entry.what if entry else cache.what_was_begun(place),
    }
