"""Request files become items: every layout is read, and what is wrong with one is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import request_files as files
from conftest import ROOT

from actbench.data.blimp import load_blimp
from actbench.data.requests import Request, load_requests
from actbench.errors import BadInput

SHARED = ROOT.parent / "shared" / "data" / "eval"
present = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data/eval: the publishers' files are not here")


def test_choices_come_from_the_folder_without_examples(tmp_path: Path) -> None:
    task = load_requests("pick", files.choices(tmp_path), None)
    assert (task.kind, task.headline, len(task.items)) == ("choice", "acc_norm", 12)
    assert [len(item.requests) for item in task.items[:4]] == [2, 3, 4, 2]
    assert all(request.context != "Answer:" for item in task.items for request in item.requests), "asked without it"
    assert task.facts["subset"] is False and task.facts["shots"] == 0 and task.facts["split"] == "validation"
    few = load_requests("pick", tmp_path, 5)
    assert few.items == task.items[:5] and few.facts["subset"] is True and few.facts["of"] == 12
    assert few.facts["items_sha256"] != task.facts["items_sha256"]


def test_one_continuation_without_gold_is_a_last_word(tmp_path: Path) -> None:
    task = load_requests("lambada", files.last_words(tmp_path), None)
    assert (task.kind, task.headline, len(task.items)) == ("last word", "acc", 8)
    assert task.facts["subset"] is True, "the published set has more"


def test_pairs_are_read_by_paradigm(tmp_path: Path) -> None:
    task = load_blimp(files.pairs(tmp_path), 4)
    assert [item.group for item in task.items] == ["stone_last"] * 4 + ["wind_first"] * 4
    assert task.items[0].gold == 0 and task.items[0].requests[0].context == ""
    assert task.facts["subset"] is True and task.facts["paradigms"] == 2 and task.facts["of_paradigms"] == 67


BROKEN = [
    ([files.row(0, 0, "a", " b", gold=0), "{"], "requests.jsonl:2"),
    ([{"doc_id": 0}], "requests.jsonl:1: no key 'request'"),
    ([files.row(0, 0, "a", " ", gold=0)], "not empty"),
    ([files.row(0, 1, "a", " b", gold=0)], "continuation 1 where 0 should come"),
    ([files.row(0, 0, "a", " b"), files.row(0, 1, "a", " c")], "no doc.gold"),
    ([files.row(0, 0, "a", " b", gold=2), files.row(0, 1, "a", " c", gold=2)], "gold is 2 of 2"),
    ([], "no items"),
]


@pytest.mark.parametrize(("rows", "expected"), BROKEN, ids=[expected for _, expected in BROKEN])
def test_a_broken_file_is_told_with_its_place(tmp_path: Path, rows: list[Any], expected: str) -> None:
    path = tmp_path / "mine" / "requests.jsonl"
    path.parent.mkdir()
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in rows))
    with pytest.raises(BadInput) as caught:
        load_requests("mine", tmp_path, None)
    assert expected in str(caught.value) and str(tmp_path / "mine") in str(caught.value)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    files.choices(tmp_path)
    with pytest.raises(BadInput, match="did you mean 'pick'"):
        load_requests("pik", tmp_path, None)
    with pytest.raises(BadInput, match="no BLiMP here"):
        load_blimp(tmp_path, None)
    files.lines(tmp_path / "pick" / "more" / "requests.jsonl", [files.row(0, 0, "a", " b", gold=0)])
    (tmp_path / "pick" / "rc_0shot" / "config.json").unlink()
    with pytest.raises(BadInput, match="several sets of requests"):
        load_requests("pick", tmp_path, None)


@present
@pytest.mark.parametrize(
    ("name", "headline", "of", "answers"),
    [("piqa", "acc_norm", 1838, 2), ("arc_easy", "acc", 570, 4), ("sciq", "acc", 1000, 4), ("boolq", "acc", 3270, 2)],
)
def test_published_choices(name: str, headline: str, of: int, answers: int) -> None:
    task = load_requests(name, SHARED, 20)
    assert (task.kind, task.headline, len(task.items), task.facts["of"]) == ("choice", headline, 20, of)
    assert {len(item.requests) for item in task.items} <= {answers - 1, answers, answers + 1}
    assert task.facts["shots"] == 0 and task.facts["subset"] is True
    assert all(request.continuation.startswith(" ") for item in task.items for request in item.requests)


@present
def test_published_last_words_and_pairs() -> None:
    task = load_requests("lambada", SHARED, None)
    assert (task.kind, len(task.items), task.facts["subset"]) == ("last word", 5153, False)
    assert task.items[0].requests[0].continuation == " signs"
    task = load_blimp(SHARED, 1)
    assert task.facts["paradigms"] == 34 and task.facts["subset"] is True
    assert Request("", "Lucille's sisters are confused by Amy.") in [item.requests[0] for item in task.items]
