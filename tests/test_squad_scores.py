"""Answers come out of logits as BERT's do, and are scored as SQuAD's official scripts score them."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.text import squad as torchmetrics_squad

from actbench.data.tasks import Answer, Question
from actbench.data.windows import Windows
from actbench.errors import RunFailed
from actbench.evaluation.squad import (
    Found,
    answers,
    choose_threshold,
    normalize,
    predictions,
    score_v1,
    score_v2,
)

TEXTS = st.text(alphabet="aAtThHeEn bx.,-'é ", max_size=12)


def question(id: str, *golds: str) -> Question:
    return Question(id, "?", "", tuple(Answer(gold, 0) for gold in golds))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Cat", "cat"),
        ("a-b", "ab"),
        ("an apple, the theme.", "apple theme"),
        ("A", ""),
        ("U.S.A.", "usa"),
        ("the\u00a0end", "end"),
        ("d'un «café»", "dun «café»"),
        ("_a_ the_", ""),
    ],
)
def test_texts_are_normalized_as_the_scripts_do(text: str, plain: str) -> None:
    assert normalize(text) == plain


@pytest.mark.parametrize(
    ("golds", "given", "exact", "f1"),
    [
        (("Denver Broncos",), "the Denver Broncos!", 1, 1),
        (("Denver Broncos",), "Broncos", 0, 2 / 3),
        (("Denver Broncos", "Broncos"), "Broncos", 1, 1),
        (("Denver Broncos",), "Carolina Panthers", 0, 0),
        (("b b b",), "b b", 0, 0.8),
        (("b c d",), "b c e c", 0, 2 * 2 / 7),
        (("x",), "", 0, 0),
        (("the",), "a", 1, 0),  # nothing is left of both: they are equal, and share no word
        ((), "x", 0, 0),
    ],
)
def test_version_one(golds: Sequence[str], given: str, exact: float, f1: float) -> None:
    scores = score_v1([question("q", *golds)], {"q": given})
    assert scores == {"exact_match": exact, "f1": pytest.approx(f1)}


@pytest.mark.parametrize(
    ("golds", "given", "exact", "f1"),
    [
        ((), "", 1, 1),
        ((), "x", 0, 0),
        ((), "the", 1, 1),
        (("x",), "", 0, 0),
        (("the", "x"), "", 0, 0),  # an answer of which nothing is left does not count
        (("the",), "", 1, 1),  # nor is there an answer when it is the only one
        (("b c",), "c b", 0, 1),
        (("b c", "c"), "b", 0, 2 / 3),
    ],
)
def test_version_two(golds: Sequence[str], given: str, exact: float, f1: float) -> None:
    scores = score_v2([question("q", *golds)], {"q": given})
    assert (scores["exact_match"], scores["f1"]) == (exact, pytest.approx(f1))


def test_version_two_tells_questions_with_an_answer_from_those_without() -> None:
    questions = [question("1", "x"), question("2", "b c"), question("3"), question("4")]
    scores = score_v2(questions, {"1": "x", "2": "b", "3": "", "4": "x"})
    assert scores == {
        "exact_match": 0.5,
        "f1": pytest.approx((1 + 2 / 3 + 1 + 0) / 4),
        "has_answer_exact_match": 0.5,
        "has_answer_f1": pytest.approx((1 + 2 / 3) / 2),
        "no_answer_f1": 0.5,
    }
    assert "no_answer_f1" not in score_v2(questions[:2], {}) and "has_answer_f1" not in score_v2(questions[2:], {})


def test_a_question_without_a_prediction_counts_nothing() -> None:
    questions = [question("1", "x"), question("2", "x"), question("3")]
    assert score_v1(questions[:2], {"1": "x"}) == {"exact_match": 0.5, "f1": 0.5}
    assert score_v2(questions, {"1": "x"})["f1"] == pytest.approx(1 / 3)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_scores_are_torchmetrics_where_it_follows_the_scripts(cases: list[tuple[str, list[str]]]) -> None:
    """It takes two texts of which nothing is left to agree, as 2.0 does; 1.1 gives them an F1 of 0."""
    questions = [question(str(i), *golds) for i, (_, golds) in enumerate(cases)]
    given_texts = {str(i): text for i, (text, _) in enumerate(cases)}
    for one, (text, golds) in zip(questions, cases, strict=True):
        target = {"answers": {"text": golds, "answer_start": [0] * len(golds)}, "id": one.id}
        theirs = {
            name: float(value) / 100
            for name, value in torchmetrics_squad({"prediction_text": text, "id": one.id}, target).items()
        }
        first = score_v1([one], given_texts)
        assert first["exact_match"] == theirs["exact_match"]
        if normalize(text):
            assert first["f1"] == pytest.approx(theirs["f1"])
        if all(map(normalize, golds)):
            second = score_v2([one], given_texts)
            assert second["exact_match"] == theirs["exact_match"]
            assert second["f1"] == pytest.approx(theirs["f1"])


CONTEXT = "a b c d e f g h i j"
CHARACTERS = np.array([[2 * i, 2 * i + 1] for i in range(10)])


def windows(begins: Sequence[int], sizes: Sequence[int], owners: Sequence[int] | None = None) -> Windows:
    """Windows [CLS] q [SEP] text [SEP] of texts a b c ..."""
    owners = owners or [0] * len(begins)
    lengths = [size + 4 for size in sizes]
    questions = tuple(Question(str(i), "q", CONTEXT, ()) for i in range(max(owners) + 1))
    return Windows(
        tokens=np.zeros(sum(lengths), np.int32),
        segments=np.zeros(sum(lengths), np.uint8),
        offsets=np.cumsum([0, *lengths]),
        labels=np.zeros((len(begins), 2), np.float32),
        length=64,
        pad=0,
        questions=questions,
        owners=np.array(owners),
        texts=np.full(len(begins), 3),
        begins=np.array(begins),
        characters=(CHARACTERS,) * len(questions),
    )


def logits(start: Sequence[float], end: Sequence[float], null: float = 0.0) -> np.ndarray:
    """A window's logits: best at the question, which is no answer."""
    return np.array([[null / 2] * 2, [99, 99], [99, 99], *zip(start, end, strict=True), [99, 99]], np.float32)


def test_the_best_pair_in_order_makes_the_answer() -> None:
    (found,) = answers(windows([0], [4]), [logits([-9, 1, 5, 2], [9, 0, 1, 3], null=2)], 20, 30)
    assert found == Found("c d", 2 - 8), "not c to a, which would run backwards"


def test_an_answer_is_no_longer_than_allowed() -> None:
    each = [logits([5, 0, 0, 1], [0, 0, 0, 5])]
    assert answers(windows([0], [4]), each, 20, 30)[0].text == "a b c d"
    assert answers(windows([0], [4]), each, 20, 3)[0].text == "d"


def test_only_the_best_starts_and_ends_are_looked_at() -> None:
    each = [logits([1, 5, 4, 0], [7, 0, 0, 6])]
    assert answers(windows([0], [4]), each, 2, 30)[0].text == "b c d"
    assert answers(windows([0], [4]), [logits([0, 0, 0, 9], [9, 0, 0, 0])], 1, 30)[0] == Found("", np.inf)


def test_the_best_of_all_windows_counts_and_the_least_null() -> None:
    each = [logits([3, 0, 0], [3, 0, 0], null=4), logits([0, 5, 0], [0, 4, 0], null=-1), logits([1], [1], null=8)]
    (found,) = answers(windows([0, 2, 9], [3, 3, 1]), each, 20, 30)
    assert found == Found("d", -1 - 9)


def test_questions_do_not_mix() -> None:
    each = [logits([3, 0], [3, 0]), logits([0, 5], [0, 5])]
    assert [found.text for found in answers(windows([0, 0], [2, 2], [0, 1]), each, 20, 30)] == ["a", "b"]


def test_an_empty_text_has_no_answer() -> None:
    assert answers(windows([0], [0]), [logits([], [])], 20, 30) == [Found("", np.inf)]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 10))
def test_with_room_for_all_the_answer_is_the_best_there_is(seed: int, n: int, longest: int) -> None:
    start, end = np.random.default_rng(seed).normal(size=(2, n))
    (found,) = answers(windows([0], [n]), [logits(list(start), list(end))], 20, longest)
    spans = [(i, j) for i in range(n) for j in range(i, min(n, i + longest))]
    i, j = max(spans, key=lambda span: start[span[0]] + end[span[1]])
    assert found.text == CONTEXT[2 * i : 2 * j + 1]
    assert found.null_margin == pytest.approx(-(start[i] + end[j]), abs=1e-5)


def test_a_logit_that_is_no_number_fails_the_run() -> None:
    with pytest.raises(RunFailed, match="not a number"):
        answers(windows([0], [2]), [logits([np.nan, 0], [0, 0])], 20, 30)


def test_above_the_threshold_there_is_no_answer() -> None:
    questions, found = [question("1"), question("2")], [Found("x", 1.5), Found("y", 1.0)]
    assert predictions(questions, found, 1.0) == {"1": "", "2": "y"}
    assert predictions(questions, found, None) == {"1": "x", "2": "y"}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["x", "b c", ""]), st.integers(-3, 3), st.booleans()), min_size=1, max_size=8)
)
def test_the_threshold_is_the_best_there_is(cases: list[tuple[str, int, bool]]) -> None:
    questions = [question(str(i), *(["b"] if answerable else [])) for i, (_, _, answerable) in enumerate(cases)]
    found = [Found(text, float(margin) if text else np.inf) for text, margin, _ in cases]

    def reached(threshold: float) -> float:
        return score_v2(questions, predictions(questions, found, threshold))["f1"]

    chosen = choose_threshold(questions, found)
    assert np.isfinite(chosen)
    assert reached(chosen) == pytest.approx(max(reached(x) for x in np.arange(-5, 5, 0.5)))
