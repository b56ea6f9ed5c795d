"""Packing goes shard by shard: in any number of processes, on from where it was stopped, and no further than asked."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COMMAND
from hub_stand_in import REPO, HubStandIn

from actbench.config.corpus import FilesCorpus
from actbench.config.schema import TokenizerSection
from actbench.data import cache, documents, packing, portions, shards
from actbench.data import tokenizer as tokenizing
from actbench.data.packing import TokenData, prepare
from actbench.data.splitting import split_hash
from actbench.errors import BadInput

TEXT = Path(__file__).parents[2] / "shared" / "data" / "text"
LINES = [f"Document {n}. " + " ".join(f"word{(7 * n + k) % 97}" for k in range(60)) + "." for n in range(400)]
LEARNT = TokenizerSection(kind="byte_bpe", vocab_size=400)


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shards, "SHARD_BYTES", 1 << 14)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ready() -> TokenizerSection:
    """A tokenizer that need not be learnt."""
    tokenizing.train(LEARNT, LINES[:50]).save("tokenizer.json")
    return TokenizerSection(kind="byte_bpe", file="tokenizer.json")


def corpus(name: str = "a.jsonl", lines: list[str] = LINES, **more: Any) -> FilesCorpus:
    Path(name).write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    return FilesCorpus(source="files", files=[name], **more)


def pack(text: Any, section: TokenizerSection = LEARNT, **more: Any) -> TokenData:
    return prepare(text, section, 0.1, lambda _: None, **more)


def files_of(data: TokenData) -> dict[str, bytes]:
    folder = data.tokenizer_file.parent
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != cache.META}


def test_processes_and_shards_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, found = corpus(), []
    for number, (jobs, size) in enumerate([(1, 1 << 30), (2, 1 << 15), (1, 1 << 13)]):
        monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / str(number)))
        monkeypatch.setattr(shards, "SHARD_BYTES", size)
        data = pack(text, jobs=jobs)
        found.append((files_of(data), data.facts))
    assert found[1] == found[0] and found[2] == found[0]


def test_what_is_stopped_goes_on_from_its_finished_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    text, read = corpus(), documents.read_file
    unbroken = files_of(pack(text))
    cache.remove(cache.places()[-1])
    begun: list[int] = []

    def stopping(path: Path, text_field: str, done: int = 0) -> Any:
        begun.append(done)
        for number, part in enumerate(read(path, text_field, done)):
            if len(begun) == 1 and number == 200:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(documents, "read_file", stopping)
    with pytest.raises(KeyboardInterrupt):
        pack(text)
    (work,) = (cache.root() / "tokens").glob("*.work")
    assert cache.what_was_begun(cache.places()[-1]) == "tokens of a.jsonl"
    finished = len(list(work.rglob("*.read.json")))
    assert finished >= 3
    (work / "part-0" / f"{finished:06d}.texts").write_bytes(b"half a shard")  # without its mark it is none
    assert files_of(pack(text)) == unbroken
    assert begun[0] == 0 and 100 < begun[1] < 200
    assert not work.exists()


PACK_SLOWLY = """
import json, sys, time
from actbench.config.corpus import FilesCorpus
from actbench.config.schema import TokenizerSection
from actbench.data import documents, packing, shards
shards.SHARD_BYTES = 1 << 14
read = documents.read_file
def slowly(*args):
    for number, part in enumerate(read(*args)):
        time.sleep(0.01 if number > 150 else 0)
        yield part
documents.read_file = slowly
section = TokenizerSection(kind="byte_bpe", file="tokenizer.json")
packing.prepare(FilesCorpus(source="files", files=["a.jsonl"]), section, 0.1, print, jobs=2)
"""


def test_a_kill_leaves_whole_shards_and_no_process(ready: TokenizerSection) -> None:
    text = corpus()
    process = subprocess.Popen([sys.executable, "-c", PACK_SLOWLY], stdout=subprocess.DEVNULL)
    folder = cache.root() / "tokens"
    _wait_until(lambda: len(list(folder.rglob("*.tokens.json"))) >= 2)
    children = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) >= 2
    _wait_until(lambda: not any(map(_is_alive, children)))
    (place,) = cache.places()
    assert cache.open_entry("tokens", place.name) is None
    tokenised = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tokens.json")}
    seen: dict[Path, int] = {}
    data = pack(text, ready, watch=lambda _: seen.update({p: p.stat().st_mtime_ns for p in tokenised if p.exists()}))
    assert data.built and seen == tokenised, "finished shards are not tokenised again"
    broken = files_of(data)
    cache.remove(place)
    assert files_of(pack(text, ready)) == broken


def _wait_until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_faulty_text_leaves_nothing(tmp_path: Path) -> None:
    text = corpus(lines=["one"])
    Path("a.jsonl").write_text('{"text": "one"}\n{"text"\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.jsonl:2: not JSON"):
        pack(text)
    assert {path.suffix for path in (tmp_path / "cache" / "tokens").iterdir()} == {".lock"}


@pytest.mark.parametrize("learnt", [False, True])
def test_no_more_is_read_than_max_tokens_needs(
    ready: TokenizerSection, monkeypatch: pytest.MonkeyPatch, learnt: bool
) -> None:
    monkeypatch.setattr(portions, "LEARNT_BYTES", 1 << 15)
    section = LEARNT if learnt else ready
    whole, read, taken = pack(corpus(), section), documents.read_file, [0]

    def counted(*args: Any) -> Any:
        for part in read(*args):
            taken[0] += 1
            yield part

    monkeypatch.setattr(documents, "read_file", counted)
    bound = 5_000
    data = pack(corpus(max_tokens=bound), section)
    ends = np.flatnonzero(data.train == 0)
    assert ends[-2] + 1 < bound <= len(data.train), "reading ends with the document that reaches the bound"
    assert 0 < taken[0] < 200 and data.hash != whole.hash
    if not learnt:
        assert np.array_equal(data.train, whole.train[: len(data.train)])
    else:
        assert data.facts["tokenizer_learnt_from"].startswith("the first ")
    assert len(pack(corpus(max_tokens=10**9), section).train) == len(whole.train) or learnt


def test_no_held_out_document_has_taught_the_tokenizer(ready: TokenizerSection) -> None:
    """Before the tokens end, the fraction has held out none: the lowest is, and it may have been learnt from."""
    later = sorted(LINES, key=lambda line: split_hash(line) < 0.1)
    few = corpus(lines=later, max_tokens=2_000)
    with pytest.raises(BadInput, match="max_tokens: of the documents of the first 2,000 training tokens"):
        pack(few)
    assert len(pack(few, ready).validation) > 0
    assert len(pack(corpus(lines=later[::-1], max_tokens=2_000)).validation) > 0


def test_the_command_packs_what_training_finds(actbench: Any, tiny_recipe: Any) -> None:
    path = tiny_recipe("gpt")
    done = actbench("data", "prepare", "-r", path, "--jobs", "1", "--json", "--set", "seed=3", check=0)
    facts = json.loads(done.stdout)
    assert facts["mb_per_second"] > 0 and facts["documents"]["train"] + facts["documents"]["validation"] == 400
    assert re.search(r"learning the tokenizer from .*prose.jsonl: \d+ MB", done.stderr)
    assert re.search(r"tokenising .*prose.jsonl: .* MB, [\d,]+ tokens", done.stderr)
    again = json.loads(actbench("data", "prepare", "-r", path, "--json", check=0).stdout)
    assert again["mb_per_second"] is None and again["hash"] == facts["hash"]
    dry = actbench("pretrain", "-r", path, "--dry-run", "--json", check=0)
    assert "found in the cache" in dry.stderr
    assert json.loads(dry.stdout)["training_tokens_available"] == facts["tokens"]["train"]
    (entry,) = json.loads(actbench("data", "list", "--json", check=0).stdout)["entries"]
    assert entry["state"] == "whole" and entry["tokens"] == sum(facts["tokens"].values())
    assert Path(facts["folder"]).parts[-2:] == tuple(entry["entry"].split("/"))
    assert "no such entry" in actbench("data", "rm", "tokens/zz", check=2).stderr
    assert json.loads(actbench("data", "rm", entry["entry"][:12], "--json", check=0).stdout)["bytes"] > 1000
    assert "nothing in" in actbench("data", "list", check=0).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_so_and_names_what_it_left(
    actbench: Any, tiny_recipe: Any, ready: TokenizerSection, number: int
) -> None:
    path = tiny_recipe("gpt", tokenizer=ready.model_dump(include={"kind", "file"}))
    line = json.dumps({"text": " ".join(LINES[:40])}) + "\n"
    Path("large.jsonl").write_text(line * (80 << 20 >> 14), encoding="utf-8")
    words = [COMMAND, "data", "prepare", "-r", path, "--set", "corpus.files=[large.jsonl]", "--jobs", "1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    _wait_until(lambda: any((cache.root() / "tokens").rglob("*.tokens.json")))
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 128 + number
    assert said.endswith("stopped; the same command goes on from what was finished\n"), said
    (entry,) = json.loads(actbench("data", "list", "--json", check=0).stdout)["entries"]
    assert (entry["state"], entry["text"]) == ("unfinished", "tokens of large.jsonl")


PACK_FROM_HUB = """
import sys, time
import datasets
from actbench.config.corpus import HubCorpus
from actbench.config.schema import TokenizerSection
from actbench.data import hub, packing, shards
from actbench.errors import ActbenchError
shards.SHARD_BYTES, hub.STATE_EVERY, time.sleep = 1 << 14, 30, lambda _: None
section = TokenizerSection(kind="byte_bpe", file="tokenizer.json")
try:
    corpus = HubCorpus(source="hub", dataset=sys.argv[1], streaming=sys.argv[2] == "streamed")
    data = packing.prepare(corpus, section, 0.1, print)
    print(data.facts["text_sha256"])
except ActbenchError as error:
    print(f"exit {error.exit_code}: {error}")
"""


@pytest.mark.parametrize("way", ["streamed", "copied"])
def test_a_lost_connection_fails_clearly_and_packing_goes_on(tmp_path: Path, ready: TokenizerSection, way: str) -> None:
    """Also from a copy that is read instead: what counts rows in a stream does not in that."""
    rows = [LINES[start : start + 50] for start in range(0, 400, 50)]
    files = {
        f"train-{number}.jsonl": "".join(json.dumps({"text": line}) + "\n" for line in some).encode()
        for number, some in enumerate(rows)
    }
    with HubStandIn(files) as hub:

        def run(way: str) -> str:
            code = [sys.executable, "-c", PACK_FROM_HUB, REPO, way]
            environment = hub.environment(tmp_path)
            done = subprocess.run(code, env=environment, capture_output=True, text=True, timeout=120, check=True)
            return done.stdout.splitlines()[-1]

        hub.unreachable = {"train-5.jsonl"}
        said = run("streamed")
        assert re.match(r"exit 1: org/name: the connection was lost after 250 rows: .*goes on from there", said), said
        hub.unreachable = set()
        hub.requests.clear()
        assert run(way) == pack(corpus(), ready).facts["text_sha256"]
        read = {word.rpartition("/")[2] for word in hub.requests if word.startswith("GET") and ".jsonl" in word}
        assert "train-5.jsonl" in read and (way == "copied" or not read & {"train-1.jsonl", "train-2.jsonl"}), read


@pytest.mark.skipif(not TEXT.is_dir(), reason="the shared texts are not here")
def test_real_texts_in_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: TokenizerSection) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 1 << 20)
    text = FilesCorpus(source="files", files=[str(TEXT / "wikipedia" / "*.jsonl.gz")])
    one = files_of(pack(text, ready))
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "other"))
    assert files_of(pack(text, ready, jobs=2)) == one


def test_a_text_for_validation_is_packed_whole(ready: TokenizerSection) -> None:
    data = pack(corpus(), ready)
    tokens, facts = packing.prepare_text(corpus("b.jsonl", LINES[:7]), data.tokenizer_file, lambda _: None)
    assert np.array_equal(tokens, packing.pack_texts(data.tokenizer_file, LINES[:7]))
    assert facts["documents"] == 7 and not tokens.flags.writeable
    assert facts["corpus"]["files"][0]["path"] == "b.jsonl"
