"""Documents come out of files and the hub as they went in, and a fault is named by file and line."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hub_stand_in import COMMIT, REPO, HubStandIn, client_environment

from actbench.data import documents
from actbench.errors import BadInput


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def zstd(data: bytes) -> bytes:
    """Of two frames, as what several programs wrote one after the other."""
    return b"".join(pyarrow.compress(part, codec="zstd", asbytes=True) for part in (data[:30], data[30:]))


PACKED = {".gz": gzip.compress, ".zst": zstd}


def write(name: str, content: str | bytes) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(PACKED.get(path.suffix, bytes)(data))


def read(*patterns: str, field: str = "text") -> list[str]:
    return list(documents.files_source(list(patterns), field).read())


def problem(*patterns: str, field: str = "text") -> str:
    with pytest.raises(BadInput) as caught:
        read(*patterns, field=field)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_text_file_is_one_document(suffix: str) -> None:
    write(f"a.txt{suffix}", "one\n\ntwo ü\r\n")
    assert read(f"a.txt{suffix}") == ["one\n\ntwo ü\r\n"]


def test_wikitexts_own_file_is_plain_text() -> None:
    write("wiki.valid.tokens", " = Title = \n text <unk> \n")
    assert read("wiki.valid.tokens") == [" = Title = \n text <unk> \n"]


def test_a_byte_order_mark_is_no_text() -> None:
    write("a.txt", b"\xef\xbb\xbfone")
    assert read("a.txt") == ["one"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_text_file_comes_in_parts(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one need not be in memory as a whole."""
    monkeypatch.setattr(documents, "PART_BYTES", 20)
    text = "\ufeff" + "".join(f"\ufeffline {number} ü\r\n" for number in range(50)) + "\n\nend"
    write(f"a.txt{suffix}", text)
    write(f"b.txt{suffix}", "")
    parts = list(documents.files_source([f"*.txt{suffix}"], "text").parts())
    assert [number for number, part in enumerate(parts) if part.ends] == [len(parts) - 2, len(parts) - 1]
    assert max(len(part.text) for part in parts) < 40
    assert read(f"*.txt{suffix}") == [text.removeprefix("\ufeff"), ""]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst"])
def test_a_line_of_json_is_one_document(suffix: str) -> None:
    write(f"a{suffix}", '{"text": "one\\ntwo"}\n\n{"text": null}\n{"id": 3, "text": "three"}')
    assert read(f"a{suffix}") == ["one\ntwo", "three"]


def test_a_row_of_parquet_is_one_document() -> None:
    table = pyarrow.table({"id": [1, 2, 3], "story": ["one", None, "three"]})
    pyarrow.parquet.write_table(table, "a.parquet")
    assert read("a.parquet", field="story") == ["one", "three"]


def test_globs_descend_sort_and_take_each_file_once() -> None:
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "deep/d.txt", "deep/skip.md"):
        write(name, name)
    assert read("**/*.txt", "a.txt", "deep/../b.txt") == ["a.txt", "b.txt", "deep/d.txt", "deep/er/c.txt"]


def test_a_name_with_brackets_is_a_name() -> None:
    write("a[1].txt", "bracket")
    assert read("a[1].txt") == ["bracket"]


def test_every_pattern_without_a_file_is_told() -> None:
    write("story.txt", "")
    told = problem("stroy.txt", "*.jsonl")
    assert "stroy.txt: corpus.files: no such file (did you mean 'story.txt'?)" in told
    assert "*.jsonl: corpus.files: matches no file" in told


def test_unknown_kinds_are_told() -> None:
    write("a.md", "")
    assert "a.md: corpus.files: not a kind of text file that can be read (known kinds: .txt," in problem("a.md")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ', "a.jsonl:2: not JSON"),
        ('["text"]', "a.jsonl:2: expected an object"),
        ('{"txt": "one"}', "a.jsonl:2: corpus.text_field: no field 'text' (did you mean 'txt'?)"),
        ('{"text": 5}', "a.jsonl:2: corpus.text_field: 'text' holds int, expected text"),
        ('{"text": "\\ud800"}', "a.jsonl:2: 'text' is not valid Unicode"),
        (b'{"text": "\xff"}', "a.jsonl:2: byte 0xff is not UTF-8 (convert the file to UTF-8)"),
    ],
)
def test_a_bad_line_is_named(line: str | bytes, message: str) -> None:
    bad = line if isinstance(line, bytes) else line.encode()
    write("a.jsonl", b'{"text": "good"}\n' + bad + b"\n")
    assert message in problem("a.jsonl")


def test_undecodable_text_is_named_by_its_line() -> None:
    write("a.txt", b"one\ntwo\nthr\xe9e\n")
    assert "a.txt:3: byte 0xe9 is not UTF-8" in problem("a.txt")


def test_undecodable_text_in_a_later_part_is_named_by_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PART_BYTES", 20)
    write("a.txt", b"a line of text\n" * 30 + b"thr\xe9e\n")
    assert "a.txt:31: byte 0xe9 is not UTF-8" in problem("a.txt")


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz"])
def test_damaged_gzip_is_named(name: str) -> None:
    whole = gzip.compress(b'{"text": "%s"}' % bytes(range(97, 123)) * 50)
    for damaged in (whole[:-20], b"not gzip at all", whole[:12] + b"\xff\xff\xff\xff" + whole[16:]):
        Path(name).write_bytes(damaged)
        assert f"{name}: not a whole gzip file" in problem(name)


def test_damaged_zstd_is_named() -> None:
    whole = zstd(b'{"text": "%s"}' % bytes(range(97, 123)) * 50)
    for damaged in (whole[:-20], b"not zstd at all"):
        Path("a.jsonl.zst").write_bytes(damaged)
        assert "a.jsonl.zst: not a whole zstd file" in problem("a.jsonl.zst")


def test_damaged_parquet_is_named() -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one"] * 1000}), "a.parquet")
    Path("a.parquet").write_bytes(Path("a.parquet").read_bytes()[:-30])
    assert "a.parquet: not a whole parquet file" in problem("a.parquet")


def test_parquet_fields_are_checked() -> None:
    pyarrow.parquet.write_table(pyarrow.table({"texts": ["one"], "number": [1]}), "a.parquet")
    assert "a.parquet: corpus.text_field: no field 'text' (did you mean 'texts'?)" in problem("a.parquet")
    assert "a.parquet: row 1: corpus.text_field: 'number' holds int" in problem("a.parquet", field="number")


def test_equal_keys_mean_equal_documents() -> None:
    write("a.txt", "one")
    write("moved/b.txt", "one")
    first = documents.files_source(["a.txt"], "text")
    assert documents.files_source(["moved/b.txt"], "text").key == first.key
    write("a.txt", "two")
    assert documents.files_source(["a.txt"], "text").key != first.key
    assert documents.files_source(["moved/b.txt"], "other").key != first.key


def test_a_files_hash_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.txt", "one")
    first = documents.file_sha256(Path("a.txt"))
    with monkeypatch.context() as patch:
        patch.setattr(documents.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert documents.file_sha256(Path("a.txt")) == first
    write("a.txt", "three")
    assert documents.file_sha256(Path("a.txt")) != first


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read_anew() -> None:
    write("a.txt", "one")
    first, stat = documents.file_sha256(Path("a.txt")), Path("a.txt").stat()
    write("b.txt", "two")
    os.utime("b.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    Path("b.txt").replace("a.txt")
    assert documents.file_sha256(Path("a.txt")) != first


# The hub's client reads its address when it is imported, so each of these runs in a process of its own.
READ_FROM_HUB = """
import json, sys
from actbench.config.corpus import HubCorpus
from actbench.data.packing import open_source
from actbench.errors import BadInput
for options in json.loads(sys.argv[1]):
    said = []
    answer = {"said": said}
    try:
        source = open_source(HubCorpus(source="hub", **options), said.append)
        answer["documents"] = list(source.read())
        answer["revision"] = source.key["revision"]
    except BadInput as error:
        answer["problem"] = str(error)
    print("ANSWER " + json.dumps(answer))
"""
ROWS = [f"document {number}" for number in range(5)]
CARD = """---
configs:
- {config_name: default, data_files: train.jsonl, default: true}
- {config_name: small, data_files: small.jsonl}
---
"""
LINES = [json.dumps({"text": row}) + "\n" for row in ROWS]
FILES = {"README.md": CARD.encode(), "train.jsonl": "".join(LINES).encode(), "small.jsonl": LINES[0].encode()}


def ask(environment: dict[str, str], *cases: dict[str, Any]) -> list[dict[str, Any]]:
    options = json.dumps([{"dataset": REPO, **case} for case in cases])
    run = subprocess.run(
        [sys.executable, "-c", READ_FROM_HUB, options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line.removeprefix("ANSWER ")) for line in run.stdout.splitlines() if line.startswith("ANSWER")]


@pytest.fixture
def closed_endpoint() -> Iterator[str]:
    """An address that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_the_hub_online(tmp_path: Path) -> None:
    with HubStandIn(FILES) as hub:
        streamed, downloaded, pinned, no_field, no_split, no_revision, subset, no_name = ask(
            hub.environment(tmp_path),
            {},
            {"streaming": False, "max_documents": 2},
            {"revision": COMMIT, "max_documents": 3},
            {"text_field": "txt"},
            {"split": "test"},
            {"revision": "v9"},
            {"subset": "small"},
            {"dataset": "org/other"},
        )
    assert (streamed["documents"], streamed["revision"]) == (ROWS, COMMIT)
    assert (downloaded["documents"], downloaded["revision"]) == (ROWS[:2], COMMIT)
    assert pinned["documents"] == ROWS[:3]
    assert subset["documents"] == ROWS[:1]
    assert "org/name: row 1: corpus.text_field: no field 'txt' (did you mean 'text'?)" in no_field["problem"]
    assert "Bad split: test. Available splits: ['train']" in no_split["problem"]
    assert "no revision 'v9' on the hub" in no_revision["problem"]
    assert "org/other: corpus.dataset: not found on the hub, or private" in no_name["problem"]


@pytest.mark.parametrize("how", ["closed port", "HF_HUB_OFFLINE"])
def test_the_hub_offline_says_so_and_what_to_do(tmp_path: Path, closed_endpoint: str, how: str) -> None:
    environment = client_environment(closed_endpoint, tmp_path)
    if how == "HF_HUB_OFFLINE":
        environment["HF_HUB_OFFLINE"] = "1"
    began = time.monotonic()
    for answer in ask(environment, {}, {"revision": COMMIT}):
        assert "org/name: corpus.dataset: the hub cannot be reached: offline" in answer["problem"]
        assert "corpus.source: files or builtin" in answer["problem"]
    assert time.monotonic() - began < 15  # the client's own attempts take half a minute


def test_offline_takes_the_downloaded_copy_only_if_it_is_of_that_commit(tmp_path: Path, closed_endpoint: str) -> None:
    with HubStandIn(FILES) as hub:
        ask(hub.environment(tmp_path), {"streaming": False})
    environment = client_environment(closed_endpoint, tmp_path) | {"HF_HUB_OFFLINE": "1"}
    remembered, other = ask(environment, {}, {"revision": "f" * 40})
    assert (remembered["documents"], remembered["revision"]) == (ROWS, COMMIT)
    assert "using commit 0123456789ab of an earlier run" in remembered["said"][0]
    assert "the copy on this machine is not of commit ffffffffffff" in other["problem"]
