"""BLiMP (Warstadt et al. 2020, arXiv 1912.00582): pairs of sentences, one of them grammatical, by paradigm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actbench.data.requests import SUFFIXES, Item, Request, RequestTask, digest, read_rows
from actbench.errors import BadInput, Problem

NAME = "blimp"
PARADIGMS, PAIRS = 67, 1000  # of the whole set, and of each paradigm


def load_blimp(data: Path, limit: int | None) -> RequestTask:
    """All paradigms in DATA/blimp, one file each, the first `limit` pairs of each or all of them.

    A sentence is scored whole, as a document that begins with it. Raises BadInput for a missing or broken file.
    """
    folder = data / NAME
    files = sorted(path for path in folder.glob("*") if path.name.endswith(SUFFIXES))
    if not files:
        hint = f"the paradigms' files end in {' or '.join(SUFFIXES)}"
        raise BadInput(Problem("no BLiMP here", where=str(folder), hint=hint))
    read = [list(read_rows(path, _item))[:limit] for path in files]
    items = [item for paradigm in read for item in paradigm]
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.group] = sizes.get(item.group, 0) + 1
    facts = {
        "source": "files",
        "folder": str(folder),
        "paradigms": len(sizes),
        "of_paradigms": max(PARADIGMS, len(sizes)),
        "items": len(items),
        "of": PARADIGMS * PAIRS,
        "subset": len(sizes) < PARADIGMS or min(sizes.values()) < PAIRS,
        "items_sha256": digest(items),
    }
    return RequestTask(NAME, "pairs", tuple(items), "acc", facts)


def _item(row: dict[str, Any]) -> Item:
    good, bad = row["sentence_good"], row["sentence_bad"]
    if not isinstance(good, str) or not isinstance(bad, str) or not good or not bad:
        raise ValueError("sentence_good and sentence_bad must be texts")
    return Item(f"{row['UID']}/{row['pairID']}", (Request("", good), Request("", bad)), 0, str(row["UID"]))
