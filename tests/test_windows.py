"""A text is read in windows that leave nothing out, and an answer is where the labels say."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.implementations import BertWordPieceTokenizer

from actbench.data.encoding import batches
from actbench.data.squad import load_squad
from actbench.data.tasks import Answer, Question
from actbench.data.windows import Windows, windows_of
from actbench.errors import BadInput

DATA = Path(__file__).parents[2] / "shared" / "data"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD, UNKNOWN, CLS, SEP = range(4)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordPiece tokenizer whose words are single letters: a is 4, b is 5."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS]
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    BertWordPieceTokenizer({token: i for i, token in enumerate(tokens)}).save(str(file))
    return file


def ids(text: str) -> list[int]:
    return [4 + LETTERS.index(letter) for letter in text.split()]


def tokens_of(windows: Windows, i: int) -> list[int]:
    return windows.tokens[windows.offsets[i] : windows.offsets[i + 1]].tolist()


def labelled(windows: Windows, i: int) -> str:
    """The characters that the labels of window i stand for."""
    owner = windows.owners[i]
    first, last = (windows.labels[i].astype(int) - windows.texts[i]) + windows.begins[i]
    characters = windows.characters[owner]
    return windows.questions[owner].context[characters[first, 0] : characters[last, 1]]


def test_a_short_text_is_one_window(tokenizer_file: Path) -> None:
    question = Question("q", "a b", "C d  e.", (Answer("d  e", 2),))
    windows = windows_of(tokenizer_file, [question], 16, 64, 128)
    assert tokens_of(windows, 0) == [CLS, *ids("a b"), SEP, *ids("c d e"), UNKNOWN, SEP]
    assert windows.segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert windows.labels.tolist() == [[5, 6]] and windows.texts.tolist() == [4] and windows.pad == PAD
    assert labelled(windows, 0) == "d  e"


def test_an_answer_begins_after_the_token_it_touches(tokenizer_file: Path) -> None:
    question = Question("q", "a", "c-d-e", (Answer("d", 2),))
    assert labelled(windows_of(tokenizer_file, [question], 16, 64, 128), 0) == "d"


def test_windows_of_a_long_text_overlap_by_the_stride(tokenizer_file: Path) -> None:
    text = " ".join(LETTERS[:20])
    windows = windows_of(tokenizer_file, [Question("q", "z", text, (Answer("i", 16),))], 14, 64, 4)
    # 14 less [CLS] z [SEP] and [SEP]: 10 of the text
    assert windows.begins.tolist() == [0, 4, 8, 12]
    assert [len(tokens_of(windows, i)) for i in range(4)] == [14, 14, 14, 12]
    assert tokens_of(windows, 1) == [CLS, *ids("z"), SEP, *ids(" ".join(LETTERS[4:14])), SEP]
    assert windows.labels.tolist() == [[11, 11], [7, 7], [3, 3], [0, 0]]


def test_a_question_leaves_half_of_the_window_to_the_text(tokenizer_file: Path) -> None:
    question = Question("q", " ".join(LETTERS), "a b", ())
    for longest, stays in ((64, 6), (4, 4)):
        windows = windows_of(tokenizer_file, [question], 16, longest, 128)
        assert tokens_of(windows, 0) == [CLS, *ids(" ".join(LETTERS[:stays])), SEP, *ids("a b"), SEP]


def test_an_answer_that_a_window_cuts_is_none_of_its(tokenizer_file: Path) -> None:
    text = " ".join(LETTERS[:12])
    windows = windows_of(tokenizer_file, [Question("q", "z", text, (Answer("g h i j", 12),))], 12, 64, 4)
    assert windows.begins.tolist() == [0, 4]
    assert windows.labels[0].tolist() == [0, 0] and labelled(windows, 1) == "g h i j"


def test_an_empty_text_and_no_answer_have_a_window_all_the_same(tokenizer_file: Path) -> None:
    questions = [Question("q", "a", "", ()), Question("r", "", "b", ())]
    windows = windows_of(tokenizer_file, questions, 16, 64, 128)
    assert [tokens_of(windows, i) for i in range(2)] == [[CLS, *ids("a"), SEP, SEP], [CLS, SEP, *ids("b"), SEP]]
    assert windows.labels.tolist() == [[0, 0], [0, 0]] and windows.owners.tolist() == [0, 1]


def test_windows_are_batched_as_examples_are(tokenizer_file: Path) -> None:
    windows = windows_of(tokenizer_file, [Question("q", "a", "b c", (Answer("c", 2),))], 16, 64, 128)
    (batch,) = batches(windows, 4, [0])
    assert batch["labels"].tolist() == [[4, 4]] and batch["attention"].sum() == 6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 12), st.integers(16, 40), st.integers(1, 20), st.data())
def test_no_token_is_left_out_and_a_short_answer_stands_whole_somewhere(
    tokenizer_file: Path, n: int, asked: int, length: int, stride: int, data: st.DataObject
) -> None:
    words = [LETTERS[i % 26] for i in range(n)]
    text = " ".join(words)
    room = length - 3 - min(asked, (length - 3) // 2)
    answers: tuple[Answer, ...] = ()
    if n:
        first = data.draw(st.integers(0, n - 1))
        size = data.draw(st.integers(1, min(n - first, room // 2)))
        answers = (Answer(" ".join(words[first : first + size]), 2 * first),)
    windows = windows_of(tokenizer_file, [Question("q", " ".join(["z"] * asked), text, answers)], length, 64, stride)
    seen = set()
    for i in range(len(windows)):
        held = tokens_of(windows, i)[windows.texts[i] : -1]
        assert len(tokens_of(windows, i)) <= length
        assert held == ids(" ".join(words[windows.begins[i] : windows.begins[i] + len(held)]))
        seen |= set(range(windows.begins[i], windows.begins[i] + len(held)))
    assert seen == set(range(n))
    found = [labelled(windows, i) for i in range(len(windows)) if windows.labels[i].any()]
    assert set(found) == {answer.text for answer in answers}


def test_a_broken_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a tokenizer"):
        windows_of(tmp_path / "tokenizer.json", [], 16, 64, 128)


@pytest.mark.skipif(not (DATA / "squad").is_dir(), reason="needs SQuAD's files")
def test_real_answers_are_where_the_labels_say(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    BertWordPieceTokenizer(str(DATA / "vocab" / "bert-base-uncased" / "vocab.txt")).save(str(file))
    questions = load_squad("squad", DATA / "squad").train[:1500]
    windows = windows_of(file, questions, 128, 64, 128)
    whole = {int(windows.owners[i]): labelled(windows, i) for i in range(len(windows)) if windows.labels[i].any()}
    answers = [question.answers[0].text for question in questions]
    assert len(whole) > 0.99 * len(questions), "but for answers longer than half a window"
    exact = np.mean([whole[i] == answers[i] for i in whole])
    assert exact > 0.99 and all(answers[i] in found for i, found in whole.items()), "words cut in two aside"
