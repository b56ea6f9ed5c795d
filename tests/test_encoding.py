"""Examples become a BERT's inputs, as the reference tokenizer makes them, in batches without waste."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from actbench.data.encoding import (
    EncodedExamples,
    batches,
    encode,
    epoch_order,
    evaluation_order,
    in_original_order,
)
from actbench.data.tasks import Example
from actbench.errors import BadInput

VOCABULARY = Path(__file__).parents[2] / "shared" / "data" / "vocab" / "bert-base-uncased" / "vocab.txt"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD, UNKNOWN, CLS, SEP = range(4)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordPiece tokenizer whose words are single letters: a is 4, b is 5."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS]
    tokenizer = BertWordPieceTokenizer({token: i for i, token in enumerate(tokens)})
    tokenizer.enable_padding(length=40)  # a saved tokenizer's own settings must not matter
    tokenizer.enable_truncation(3)
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(file))
    return file


def ids(text: str) -> list[int]:
    return [4 + LETTERS.index(letter) for letter in text.split()]


def row(encoded: EncodedExamples, i: int) -> tuple[list[int], list[int]]:
    part = slice(encoded.offsets[i], encoded.offsets[i + 1])
    return encoded.tokens[part].tolist(), encoded.segments[part].tolist()


def test_a_text_and_a_pair(tokenizer_file: Path) -> None:
    encoded = encode(tokenizer_file, [Example("a b", None, 1.0), Example("a", "c d", 2.5)], length=16)
    assert row(encoded, 0) == ([CLS, *ids("a b"), SEP], [0] * 4)
    assert row(encoded, 1) == ([CLS, *ids("a"), SEP, *ids("c d"), SEP], [0, 0, 0, 1, 1, 1])
    assert encoded.labels.tolist() == [1.0, 2.5]
    assert encoded.lengths.tolist() == [4, 6]


@pytest.mark.parametrize(
    ("a", "b", "kept_a", "kept_b"),
    [
        ("a b c d e f g", "x y", "a b c", "x y"),
        ("a b", "u v w x y z", "a b", "u v w"),
        ("a b c d e f", "u", "a b c d", "u"),
        ("a b c d e f g", None, "a b c d e f", None),
    ],
)
def test_the_longer_text_is_cut_first(
    tokenizer_file: Path, a: str, b: str | None, kept_a: str, kept_b: str | None
) -> None:
    tokens, _ = row(encode(tokenizer_file, [Example(a, b, 0.0)], length=8), 0)
    assert tokens == [CLS, *ids(kept_a), SEP, *([*ids(kept_b), SEP] if kept_b else [])]


@pytest.mark.skipif(not VOCABULARY.is_file(), reason=f"needs {VOCABULARY}")
@pytest.mark.parametrize("length", [12, 64])
def test_inputs_are_those_of_the_reference_tokenizer(tmp_path: Path, length: int) -> None:
    from transformers import BertTokenizerFast

    file = tmp_path / "tokenizer.json"
    BertWordPieceTokenizer(str(VOCABULARY)).save(str(file))
    reference = BertTokenizerFast(tokenizer_file=str(file))
    pairs = [
        ("He said the foodservice pie business doesn 't fit .", '" The pie business " — naïve café?'),
        (
            "Short.",
            "A much longer second sentence that has to be truncated to fit the unbelievably small length.",
        ),
        (
            "A much longer first sentence that has to be truncated to fit the unbelievably small length.",
            "Short.",
        ),
        ("One sentence alone, transformations and 1,234.5 tokens long enough to be cut.", None),
    ]
    encoded = encode(file, [Example(a, b, 0.0) for a, b in pairs], length)
    for i, (a, b) in enumerate(pairs):
        expected = reference(a, b, truncation="longest_first", max_length=length, return_token_type_ids=True)
        assert row(encoded, i) == (expected["input_ids"], expected["token_type_ids"])


TEXTS = st.lists(st.sampled_from(LETTERS), max_size=30).map(" ".join)
EXAMPLES = st.lists(st.builds(Example, TEXTS, st.none() | TEXTS, st.integers(0, 2).map(float)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(EXAMPLES, st.integers(1, 7), st.integers(8, 40), st.integers(0, 5))
def test_batches_hold_every_example_once_and_whole(
    tokenizer_file: Path, examples: list[Example], batch_size: int, length: int, seed: int
) -> None:
    encoded = encode(tokenizer_file, examples, length)
    order = epoch_order(len(examples), seed, epoch=0)
    seen = []
    for batch in batches(encoded, batch_size, order):
        lengths = batch["attention"].sum(axis=1)
        width = batch["tokens"].shape[1]
        assert width == min(-(-lengths.max() // 8) * 8, length)
        assert (np.arange(width) < lengths[:, None]).tolist() == batch["attention"].tolist()
        assert set(batch["tokens"][~batch["attention"]]) <= {PAD}
        assert set(batch["segments"][~batch["attention"]]) <= {0}
        for k in range(len(lengths)):
            part = batch["attention"][k]
            seen.append((batch["tokens"][k][part].tolist(), batch["segments"][k][part].tolist(), batch["labels"][k]))
    assert seen == [(*row(encoded, i), encoded.labels[i]) for i in order]


def test_fields_have_the_promised_types(tokenizer_file: Path) -> None:
    encoded = encode(tokenizer_file, [Example("a", "b", 1.0), Example("a b c d e", "f g h", 0.0)], length=32)
    (batch,) = batches(encoded, 4, [1, 0])
    types = {name: (field.dtype.name, field.shape) for name, field in batch.items()}
    assert types == {
        "tokens": ("int64", (2, 16)),
        "segments": ("int64", (2, 16)),
        "attention": ("bool", (2, 16)),
        "labels": ("float32", (2,)),
    }


def test_an_epochs_order_depends_on_its_arguments_alone() -> None:
    orders = [tuple(epoch_order(100, seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert epoch_order(8, seed=0, epoch=1).tolist() == epoch_order(8, seed=0, epoch=1).tolist()


def test_evaluation_goes_from_long_to_short_and_back(tokenizer_file: Path) -> None:
    examples = [Example(" ".join("a" * n), None, float(n)) for n in (3, 20, 1, 9, 20, 5)]
    encoded = encode(tokenizer_file, examples, length=32)
    order = evaluation_order(encoded)
    assert order.tolist() == [1, 4, 3, 5, 0, 2]
    outputs = np.concatenate([batch["labels"] for batch in batches(encoded, 4, order)])
    assert in_original_order(outputs, order) == [3, 20, 1, 9, 20, 5]
    assert in_original_order(np.stack([outputs, -outputs], axis=1), order)[2].tolist() == [1, -1]


def test_no_examples_give_no_batches(tokenizer_file: Path) -> None:
    encoded = encode(tokenizer_file, [], length=16)
    assert len(encoded) == 0
    assert list(batches(encoded, 4, evaluation_order(encoded))) == []


def test_a_file_that_is_no_berts_tokenizer_is_refused(tmp_path: Path) -> None:
    from tokenizers.models import BPE

    with pytest.raises(BadInput, match=r"absent\.json: not a tokenizer"):
        encode(tmp_path / "absent.json", [], 16)
    file = tmp_path / "bpe.json"
    Tokenizer(BPE()).save(str(file))
    with pytest.raises(BadInput, match=r"bpe\.json: the tokenizer has no \[CLS\], \[SEP\], \[PAD\]"):
        encode(file, [], 16)
