"""A mixture: each part's share of the tokens is its weight's, whatever its size, and every place can be sought."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.config import load_recipe
from actbench.config.corpus import FilesCorpus
from actbench.config.schema import Recipe, TokenizerSection
from actbench.data import packing
from actbench.data import tokenizer as tokenizing
from actbench.data.batches import CausalSequences, JoinedSequences, MaskedSequences, TrainingStream, fixed_batches
from actbench.data.masking import Masking
from actbench.data.mixture import BLOCK, Mixed, Shuffled, block_counts, without_repeats
from actbench.data.packing import TokenData
from actbench.data.sequences import sequences_for
from actbench.errors import BadInput

LENGTHS, WEIGHTS = [5000, 300], [0.7, 0.3]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6))
def test_a_block_has_every_part_by_its_weight(said: list[float]) -> None:
    weights = [weight / sum(said) for weight in said]
    counts = block_counts(weights)
    assert sum(counts) == BLOCK
    assert all(abs(count - weight * BLOCK) < 1 for count, weight in zip(counts, weights, strict=True))


def test_a_place_says_how_often_each_part_came_before() -> None:
    order, seen = Mixed(LENGTHS, WEIGHTS, seed=3), [0, 0]
    for place in range(BLOCK + 100):
        if place % 500 == 0:
            assert order.taken(place) == seen
        seen[order.at(place)[1] >= LENGTHS[0]] += 1
    assert order.taken(10 * BLOCK) == [10 * count for count in block_counts(WEIGHTS)]


def test_every_epoch_of_a_part_has_all_of_it_in_another_order() -> None:
    order = Mixed(LENGTHS, WEIGHTS, seed=3)
    small = [found for place in range(2 * BLOCK) if (found := order.at(place))[1] >= LENGTHS[0]]
    epochs = [[sample for epoch, sample in small if epoch == number] for number in range(3)]
    assert all(sorted(epoch) == list(range(5000, 5300)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    large = Counter(order.at(place) for place in range(2 * BLOCK))
    assert max(large.values()) == 1, "no sequence comes twice in an epoch"


def test_a_place_is_found_without_those_before_it() -> None:
    one = Mixed(LENGTHS, WEIGHTS, seed=3)
    forward = [one.at(place) for place in range(3 * BLOCK)]
    sought = Mixed(LENGTHS, WEIGHTS, seed=3)
    places = np.random.default_rng(0).permutation(3 * BLOCK)[:300]
    assert [sought.at(int(place)) for place in places] == [forward[place] for place in places]
    assert [Mixed(LENGTHS, WEIGHTS, seed=4).at(place) for place in range(50)] != forward[:50]


def test_the_order_of_one_corpus_is_for_ever() -> None:
    """Another would make of every run that was trained before another experiment."""
    order = Shuffled(1000, 7)
    assert [order.at(place) for place in (0, 1, 999, 1000, 2001)] == [
        (0, 605), (0, 111), (0, 122), (1, 594), (2, 40),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lengths", "weights", "message"),
    [
        ([100, 0], [0.5, 0.5], r"corpus\.parts\.1: its training text is shorter than one sequence"),
        ([100, 100], [0.9999, 0.0001], r"corpus\.parts\.1: its weight is less than one in 4,096"),
    ],
)
def test_a_part_that_cannot_be_drawn_is_named(lengths: list[int], weights: list[float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Mixed(lengths, weights, 0)


def test_held_out_sequences_are_a_mixture_without_repeats() -> None:
    assert without_repeats([1000, 30], [0.7, 0.3]) == [70, 30]
    with pytest.raises(BadInput, match="held-out text is shorter"):
        without_repeats([1000, 0], [0.7, 0.3])


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_a_batch_of_several_parts_is_theirs_in_the_order_asked_for(family: str) -> None:
    texts = [np.arange(1000, dtype=np.uint16), np.arange(2000, 2600, dtype=np.uint16)]
    masking = Masking(0.15, 4, 1000)
    parts = [MaskedSequences(t, 32, 2, 3, masking) if family == "bert" else CausalSequences(t, 32) for t in texts]
    joined = JoinedSequences(parts)
    first = len(parts[0])
    samples, keys = np.array([first + 2, 1, first, 0]), [("a",), ("b",), ("c",), ("d",)]
    batch = joined.batch(samples, keys)
    for row, (part, sample) in enumerate([(1, 2), (0, 1), (1, 0), (0, 0)]):
        alone = parts[part].batch(np.array([sample]), [keys[row]])
        assert all(torch.equal(batch[name][row], alone[name][0]) for name in batch)


def _write(name: str, texts: list[str]) -> str:
    Path(name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return name


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recipe, TokenData]:
    """Much prose and little arithmetic, half and half."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path / "cache"))
    prose = [f"The river of the {n}th stone house. " * 8 for n in range(300)]
    sums = [f"{n} + {n} = {2 * n}; " * 8 for n in range(60)]
    tokenizing.train(TokenizerSection(vocab_size=400), prose + sums).save("tokenizer.json")
    parts = [
        {"weight": 2, "source": "files", "files": [_write(*one)]} for one in (("a.jsonl", prose), ("b.jsonl", sums))
    ]
    recipe = {
        "name": "mixed",
        "model": {"family": "gpt", "n_layers": 1, "d_model": 16, "n_heads": 2, "d_ff": 32},
        "corpus": {"source": "mixture", "parts": parts},
        "tokenizer": {"file": "tokenizer.json"},
        "batch": {"sequences": 16, "length": 32},
        "budget": {"steps": 128},
        "validation": {"fraction": 0.1},
    }
    Path("r.yaml").write_text(json.dumps(recipe))
    loaded = load_recipe(Path("r.yaml"))
    return loaded, packing.prepare(loaded.corpus, loaded.tokenizer, 0.1, lambda _: None)


def test_parts_are_packed_as_each_alone(mixed: tuple[Recipe, TokenData]) -> None:
    recipe, data = mixed
    alone = [
        packing.prepare(FilesCorpus(source="files", files=[name]), recipe.tokenizer, 0.1, lambda _: None)
        for name in ("a.jsonl", "b.jsonl")
    ]
    assert np.array_equal(data.train, np.concatenate([one.train for one in alone]))
    assert np.array_equal(data.validation, np.concatenate([one.validation for one in alone]))
    assert [part["splits"] for part in data.facts["parts"]] == [one.facts["splits"] for one in alone]
    assert [part["weight"] for part in data.facts["parts"]] == [0.5, 0.5]
    assert data.hash not in {one.hash for one in alone}


def test_what_a_part_lacks_is_told_of_that_part(mixed: tuple[Recipe, TokenData]) -> None:
    recipe, _ = mixed
    Path("b.jsonl").write_text('{"txt": "a"}\n')
    with pytest.raises(BadInput, match=r"b\.jsonl:1: corpus\.parts\.1\.text_field: no field 'text'"):
        packing.prepare(recipe.corpus, recipe.tokenizer, 0.1, lambda _: None)
    Path("b.jsonl").unlink()
    with pytest.raises(BadInput, match=r"b\.jsonl: corpus\.parts\.1\.files: no such file"):
        packing.prepare(recipe.corpus, recipe.tokenizer, 0.1, lambda _: None)


def test_batches_hold_tokens_by_weight_and_repeat_what_is_little(mixed: tuple[Recipe, TokenData]) -> None:
    recipe, data = mixed
    split = sequences_for(recipe, data)
    assert split.order is not None and split.order.lengths[0] > 4 * split.order.lengths[1]
    stream = TrainingStream(split.train, 16, recipe.seed, split.order)
    plus = tokenizing.load(data.tokenizer_file).token_to_id("\u0120+")

    def sums(batches: Any) -> list[bool]:
        return [bool((row == plus).any()) for batch in batches for row in batch["tokens"]]

    assert sum(sums(stream.batch(position) for position in range(BLOCK // 16))) == BLOCK // 2
    again = TrainingStream(split.train, 16, recipe.seed, split.order).batch(100)
    assert all(torch.equal(again[name], stream.batch(100)[name]) for name in again)
    held = sums(fixed_batches(split.validation, 16))
    assert sum(held) == len(held) // 2


def test_a_learnt_tokenizer_is_learnt_from_all_parts(mixed: tuple[Recipe, TokenData]) -> None:
    recipe, _ = mixed
    data = packing.prepare(recipe.corpus, TokenizerSection(vocab_size=330), 0.1, lambda _: None)
    assert data.facts["tokenizer_learnt_from"] == "all training text; all training text"
    vocabulary = tokenizing.load(data.tokenizer_file).get_vocab()
    assert "\u0120river" in vocabulary and "\u0120+" in vocabulary


def test_weights_are_part_of_a_runs_identity_and_paths_are_not(mixed: tuple[Recipe, TokenData]) -> None:
    recipe, data = mixed
    heavier, moved = (
        load_recipe(Path("r.yaml"), [f"corpus.parts=[{{weight: {w}, source: files, files: [{a}]}}, {b}]"])
        for w, a in ((4, "a.jsonl"), (2, "c.jsonl"))
        for b in ["{weight: 2, source: files, files: [b.jsonl]}"]
    )
    Path("c.jsonl").write_bytes(Path("a.jsonl").read_bytes())
    assert heavier.identity() != recipe.identity() == moved.identity()
    for other in (heavier, moved):
        packed = packing.prepare(other.corpus, other.tokenizer, 0.1, lambda _: None)
        assert packed.hash == data.hash and not packed.built


def test_a_run_records_how_often_each_part_was_read(actbench: Any, mixed: tuple[Recipe, TokenData]) -> None:
    few = ["--set", "budget.steps=3", "--set", "hardware.compile=never"]
    done = actbench("pretrain", "-r", Path("r.yaml").resolve(), "--json", *few, check=0)
    mixture = json.loads(done.stdout)["mixture"]
    assert [part["weight"] for part in mixture.values()] == [0.5, 0.5]
    assert sum(part["sequences"] for part in mixture.values()) == 48
    assert 0 < mixture["0"]["epochs"] < mixture["1"]["epochs"]
