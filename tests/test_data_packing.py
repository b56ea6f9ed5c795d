"""A corpus is packed once, losslessly, split by each document's text alone, and never half."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from actbench.config.corpus import BuiltinCorpus, FilesCorpus
from actbench.config.schema import TokenizerSection
from actbench.data import builtin, cache, documents, packing, portions, shards, splitting, tokenising, words
from actbench.data import tokenizer as tokenizing
from actbench.data.packing import TokenData, prepare
from actbench.errors import BadInput, RunFailed

TEXTS = [topics[name] for name in sorted(topics)][:40]
BYTE_BPE = TokenizerSection(kind="byte_bpe", vocab_size=500)
WORDPIECE = TokenizerSection(kind="wordpiece", vocab_size=500)
SMALL_BPE = tokenizing.train(TokenizerSection(kind="byte_bpe", vocab_size=300), TEXTS[:3])
FRACTION = 0.1


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def write(texts: list[str], name: str = "a.jsonl") -> FilesCorpus:
    Path(name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return FilesCorpus(source="files", files=[name])


def pack(corpus: Any, section: TokenizerSection = BYTE_BPE, said: list[str] | None = None) -> TokenData:
    return prepare(corpus, section, FRACTION, (said if said is not None else []).append)


def decode(tokens: np.ndarray, tokenizer_file: Path) -> list[str]:
    """Documents from byte-level BPE tokens, cut at the separators."""
    tokenizer = tokenizing.load(tokenizer_file)
    parts = np.split(tokens, np.flatnonzero(tokens == 0) + 1)
    assert len(parts[-1]) == 0, "the last document ends in a separator too"
    return [tokenizer.decode(part[:-1].tolist(), skip_special_tokens=False) for part in parts[:-1]]


@pytest.fixture(scope="module")
def small_bpe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    SMALL_BPE.save(str(path))
    return path


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.text(), st.sampled_from(["<|endoftext|>", "a<|endoftext|>b", "\n", " \t "]))))
def test_what_is_packed_can_be_decoded(small_bpe_file: Path, texts: list[str]) -> None:
    assert decode(packing.pack_texts(small_bpe_file, texts), small_bpe_file) == texts


@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece"])
def test_packed_tokens_are_those_of_each_document_as_a_whole(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(tokenising, "PIECE_CHARACTERS", 300)
    tokenizer = tokenizing.train(TokenizerSection(kind=kind, vocab_size=900), TEXTS)
    tokenizer.save("tokenizer.json")
    end = [0] if kind == "byte_bpe" else []
    expected = [token for text in TEXTS for token in [*tokenizer.encode(text, add_special_tokens=False).ids, *end]]
    assert packing.pack_texts(Path("tokenizer.json"), TEXTS).tolist() == expected


def test_the_tokens_of_a_text_are_for_ever() -> None:
    """Others would make of every run that was trained before another experiment: they need another FORMAT."""
    texts = [f"Chapter {n}.\n\nThe old river's stones, {n} by {n}, \u2014 don't move!\n" * 3 for n in range(40)]
    corpus = write([*texts, "", " \n"])
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*tokenizing.BERT_SPECIALS, *letters, *("##" + letter for letter in letters), "the", "river", "##ones"]
    Path("vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    units = [tokenizing.END_OF_TEXT, *alphabet, "\u0120t", "he", "\u0120the", "\u0120r", "iv"]
    Path("encoder.json").write_text(json.dumps({unit: number for number, unit in enumerate(units)}), encoding="utf-8")
    Path("vocab.bpe").write_text("\u0120 t\nh e\n\u0120t he\n\u0120 r\ni v\n", encoding="utf-8")
    found = []
    for section in (
        TokenizerSection(kind="wordpiece", file="vocab.txt"),
        TokenizerSection(kind="byte_bpe", file="encoder.json"),
    ):
        data = pack(corpus, section)
        assert data.facts["text_sha256"].startswith("9b607d7ee81e")
        found.append([hashlib.sha256(split).hexdigest()[:12] for split in (data.train, data.validation)])
    assert found == [["98baecf238b7", "68db0f0e55bd"], ["b9ad122b0379", "5b83a4ad06bc"]]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_memory_does_not_grow_with_the_text(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Neither with long documents nor with many, nor with the words that were met; all sizes made small here."""
    for module, name, size in (
        (documents, "PART_BYTES", 1 << 12),
        (shards, "PART_BYTES", 1 << 12),
        (shards, "SHARD_BYTES", 1 << 16),
        (tokenising, "PIECE_CHARACTERS", 1 << 12),
        (tokenising, "BATCH_CHARACTERS", 1 << 14),
        (words, "_MOST_CHARACTERS", 1 << 14),
    ):
        monkeypatch.setattr(module, name, size)
    Path("vocab.txt").write_text("\n".join([*tokenizing.BERT_SPECIALS, "w", "##w", *"0123456789"]), encoding="utf-8")
    section = TokenizerSection(kind="wordpiece", file="vocab.txt")

    def peak(count: int) -> int:
        lines = [" ".join(f"w{number}" for number in range(start, start + 50)) for start in range(0, count, 50)]
        if suffix == ".txt":
            Path("a.txt").write_text("\n".join(lines), encoding="utf-8")
            Path("b.txt").write_text(lines[0], encoding="utf-8")
            corpus = FilesCorpus(source="files", files=["a.txt", "b.txt"])
        else:
            corpus = write(lines)
        del lines
        tracemalloc.start()
        pack(corpus, section)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1000)  # what is imported and made once
    assert peak(40_000) < 1.05 * peak(10_000)


def test_both_splits_hold_their_documents_in_order() -> None:
    data = pack(write(TEXTS))
    held = [text for text in TEXTS if splitting.split_hash(text) < FRACTION]
    assert 0 < len(held) < len(TEXTS) / 4
    assert decode(data.validation, data.tokenizer_file) == held
    assert decode(data.train, data.tokenizer_file) == [text for text in TEXTS if text not in held]


def test_wordpiece_has_no_separators_and_no_specials() -> None:
    data = pack(write([*TEXTS, "[MASK] [SEP]"]), WORDPIECE)
    assert not np.isin(data.train, [0, 2, 3, 4]).any()
    tokenizer = tokenizing.load(data.tokenizer_file)
    decoded = tokenizer.decode(data.validation.tolist(), skip_special_tokens=False).split()
    assert decoded[0] == next(t for t in TEXTS if splitting.split_hash(t) < FRACTION).split()[0].lower()


def test_the_facts_count_what_was_packed() -> None:
    texts = [*TEXTS, "Füchse 漢字", "", " \n"]
    data = pack(write(texts))
    splits = data.facts["splits"]
    assert splits["train"]["documents"] + splits["validation"]["documents"] == len(TEXTS) + 1
    assert data.facts["empty_documents"] == 2
    assert sum(split["characters"] for split in splits.values()) == sum(map(len, texts)) - 2
    assert sum(split["bytes"] for split in splits.values()) == sum(len(text.encode()) for text in texts) - 2
    assert splits["train"]["tokens"] == len(data.train)
    assert splits["validation"]["tokens"] == len(data.validation)
    assert data.facts["vocabulary_size"] == 500
    assert data.facts["corpus"]["files"][0]["path"] == "a.jsonl"
    assert json.loads(json.dumps(data.facts)) == data.facts


def test_the_tokenizer_has_seen_training_documents_alone() -> None:
    data = pack(write(TEXTS))
    train = [text for text in TEXTS if splitting.split_hash(text) >= FRACTION]
    assert data.tokenizer_file.read_text() == tokenizing.train(BYTE_BPE, train).to_str()
    assert data.tokenizer_file.read_text() != tokenizing.train(BYTE_BPE, TEXTS).to_str()


def test_a_large_corpus_gives_its_tokenizer_pieces_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {i} " + "word " * 20 for i in range(200)]
    corpus, learn = write(texts), tokenizing.train
    seen: list[list[str]] = []
    monkeypatch.setattr(
        tokenizing, "train", lambda section, pieces: seen.append(list(pieces)) or learn(section, pieces)
    )
    whole = pack(corpus)
    for module in (packing, portions):
        monkeypatch.setattr(module, "LEARNT_BYTES", whole.facts["splits"]["train"]["bytes"] // 4)
    part = pack(corpus)
    assert whole.facts["tokenizer_learnt_from"] == "all training text"
    assert part.facts["tokenizer_learnt_from"] in ("one piece in 4", "one piece in 5")
    every = int(part.facts["tokenizer_learnt_from"].split()[-1])
    assert seen[1] == seen[0][::every]
    assert part.facts["splits"]["train"]["documents"] == whole.facts["splits"]["train"]["documents"]


def test_few_documents_hold_out_the_lowest_hash() -> None:
    candidates = [f"text number {number}" for number in range(20)]
    texts = [text for text in candidates if splitting.split_hash(text) >= FRACTION][:4]
    data = pack(write(texts))
    assert decode(data.validation, data.tokenizer_file) == [min(texts, key=splitting.split_hash)]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "holds no text"),
        ([" ", "\n"], "holds no text"),
        (["only one"], "holds one document; training and validation need different ones"),
        (["twice", "twice"], "holds 2 documents, which all fall into the validation split"),
    ],
)
def test_a_corpus_that_cannot_be_split_is_refused(tmp_path: Path, texts: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        pack(write(texts))
    assert not list((tmp_path / "cache" / "tokens").glob("*.building"))


def test_the_second_time_nothing_is_read_or_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, said = write(TEXTS), []
    first = pack(corpus, said=said)
    assert any("packing (not in the cache yet)" in line for line in said)
    monkeypatch.setattr(documents, "read_file", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(documents.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    said.clear()
    second = pack(corpus, said=said)
    assert len(said) == 1 and "found in the cache" in said[0]
    assert (second.hash, second.facts) == (first.hash, first.facts)
    assert np.array_equal(second.train, first.train)


def test_moved_files_are_the_same_corpus() -> None:
    first, said = pack(write(TEXTS)), []
    moved = pack(write(TEXTS, "moved.jsonl"), said=said)
    assert "found in the cache" in said[0]
    assert moved.hash == first.hash
    assert moved.facts["corpus"]["files"][0]["path"] == "moved.jsonl"


def test_all_that_decides_the_tokens_changes_the_hash() -> None:
    corpus = write(TEXTS)
    data = [
        pack(corpus),
        prepare(corpus, BYTE_BPE, 0.2, lambda _: None),
        pack(corpus, TokenizerSection(kind="byte_bpe", vocab_size=501)),
        pack(corpus, WORDPIECE),
        pack(write(TEXTS[1:], "b.jsonl")),
        pack(write(TEXTS[::-1], "c.jsonl")),
    ]
    assert len({each.hash for each in data}) == len(data)


def test_ids_are_as_small_as_they_can_be() -> None:
    vocabulary = [*tokenizing.BERT_SPECIALS, "the", *(f"w{number}" for number in range(70_000))]
    Path("vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    large = pack(write(["the w69999", "the the"]), TokenizerSection(kind="wordpiece", file="vocab.txt"))
    assert large.train.dtype == large.validation.dtype == np.uint32
    assert 70_005 in {*large.train.tolist(), *large.validation.tolist()}
    small = pack(write(TEXTS))
    assert small.train.dtype == np.uint16
    assert isinstance(small.train, np.memmap)
    assert not small.train.flags.writeable


def test_a_tokenizer_of_the_wrong_kind_is_refused(small_bpe_file: Path) -> None:
    with pytest.raises(BadInput, match=r"set tokenizer\.kind=byte_bpe"):
        pack(write(TEXTS), TokenizerSection(kind="wordpiece", file=str(small_bpe_file)))


def test_documents_without_tokens_are_refused() -> None:
    with pytest.raises(BadInput, match="documents hold no tokens"):
        pack(write(["\u200b", "\u200c"]), TokenizerSection(kind="wordpiece", file=_vocabulary()))


def _vocabulary() -> str:
    Path("vocab.txt").write_text("\n".join([*tokenizing.BERT_SPECIALS, "the"]), encoding="utf-8")
    return "vocab.txt"


@pytest.mark.parametrize("damage", ["truncated", "no meta", "foreign meta", "file missing", "a file in its place"])
def test_a_damaged_entry_is_packed_again(damage: str) -> None:
    corpus, said = write(TEXTS), []
    first = pack(corpus)
    folder, tokens = first.tokenizer_file.parent, first.train.copy()
    if damage == "truncated":
        os.truncate(folder / "train.bin", 10)
    elif damage == "no meta":
        (folder / cache.META).unlink()
    elif damage == "foreign meta":
        (folder / cache.META).write_text('["not ours"]')
    elif damage == "file missing":
        (folder / "tokenizer.json").unlink()
    else:
        folder.rename("aside")
        folder.write_text("not a folder")
    second = pack(corpus, said=said)
    assert any("packing (the cache entry is damaged)" in line for line in said)
    assert second.hash == first.hash
    assert np.array_equal(second.train, tokens)


def test_verify_finds_a_flipped_bit() -> None:
    data = pack(write(TEXTS))
    assert packing.verify(data) == []
    path = data.tokenizer_file.parent / "validation.bin"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    assert packing.verify(data) == [f"{path}: not the bytes that were written"]


def test_a_full_disk_leaves_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_is_full(used: Any, path: Path, split: str) -> list[dict[str, int]]:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    corpus = write(TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_write_split", disk_is_full)
        with pytest.raises(RunFailed, match=r"No space left on device .*ACTBENCH_CACHE"):
            pack(corpus)
    folder = tmp_path / "cache" / "tokens"
    assert {path.suffix for path in folder.iterdir()} == {".lock", ".work"}
    monkeypatch.setattr(documents, "read_file", lambda *_: pytest.fail("read again"))
    assert len(pack(corpus).train) > 0
    assert {path.suffix for path in folder.iterdir()} == {".lock", ""}


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    corpus = write(TEXTS)
    place = pack(corpus).tokenizer_file.parent
    place.rename(place.with_suffix(".building"))
    (place.with_suffix(".building") / cache.META).unlink()
    assert len(pack(corpus).train) > 0
    assert {path.suffix for path in place.parent.iterdir()} == {"", ".lock"}


def test_two_processes_pack_once_between_them(tmp_path: Path) -> None:
    corpus = write(TEXTS)
    place = pack(corpus).tokenizer_file.parent
    place.rename(tmp_path / "aside")
    code = (
        "from actbench.config.corpus import FilesCorpus; from actbench.config.schema import TokenizerSection;"
        "from actbench.data.packing import prepare;"
        f"prepare(FilesCorpus(**{corpus.model_dump()}), TokenizerSection(**{BYTE_BPE.model_dump()}),"
        f"{FRACTION}, lambda line: print(line, flush=True))"
    )
    with FileLock(place.with_suffix(".lock")):
        both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            assert process.stdout is not None
            assert "waiting for another process" in process.stdout.readline()
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("packing" in output for output in outputs) == 1
    assert sum("found in the cache" in output for output in outputs) == 1


def test_the_builtin_corpus_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "documents", lambda: iter(TEXTS))
    said: list[str] = []
    data = pack(BuiltinCorpus(source="builtin"), said=said)
    assert data.facts["corpus"]["versions"]["python"]
    monkeypatch.setattr(builtin, "documents", lambda: pytest.fail("read again"))
    assert pack(BuiltinCorpus(source="builtin"), WORDPIECE).facts["text_sha256"] == data.facts["text_sha256"]


def test_shuffled_order_changes_tokens_but_not_the_split() -> None:
    shuffled = TEXTS.copy()
    random.Random(0).shuffle(shuffled)
    one, other = pack(write(TEXTS)), pack(write(shuffled, "b.jsonl"))
    assert sorted(decode(one.validation, one.tokenizer_file)) == sorted(decode(other.validation, other.tokenizer_file))


def test_packing_needs_neither_torch_nor_datasets() -> None:
    heavy = {"torch", "datasets", "pyarrow", "lightning"}
    code = f"import sys, actbench.data.packing; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
