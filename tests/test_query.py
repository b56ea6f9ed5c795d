"""What `--where` understands, and how it says what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.errors import BadInput
from actbench.store.query import parse

RUN = {
    "activation": "raf",
    "loss": 3.5,
    "seed": 0,
    "name": "12",
    "optimizer.lr": 1e-3,
    "optimizer.betas": [0.9, 0.98],
    "lowercase": True,
    "created": "2026-11-25T10:00:00+00:00",
    "score": None,
}


def matches(expression: str) -> bool:
    return parse(expression).matches(RUN.get)


@pytest.mark.parametrize(
    "expression",
    [
        "activation=raf",
        "activation == 'raf'",
        'activation="raf"',
        "activation!=gelu",
        "activation~af",
        "loss<4",
        "loss<=3.5",
        "loss>3.4 and loss>=3.5",
        "loss=3.50",
        "optimizer.lr=1e-3",
        "optimizer.lr>=.001",
        "seed=0",
        "name=12",
        "name='12'",
        "lowercase=true",
        "optimizer.betas~0.98",
        "created>2026-11-01 and created<2026-12",
        "score=null",
        "score!=0.5",
        "loss!=null",
        "not loss<3",
        "not (loss<3 or seed=1)",
        "seed=1 or activation=raf and loss<4",
        "activation=raf or loss<3 and seed=1",
        "(seed=1 or activation=raf) AND NOT loss<3",
        "activation=raf and (loss<4)and(seed<1)",
    ],
)
def test_what_matches(expression: str) -> None:
    assert matches(expression)
    assert not matches(f"not ({expression})")


@pytest.mark.parametrize(
    "expression",
    [
        "score<1",
        "score>=0",
        "score=0",
        "score~0",
        "loss<null",
        "loss<'4'",  # in quotes it is a word, and a number is neither before nor after a word
        "activation<1",
        "lowercase=1",
        "activation=RAF",
        "(activation=raf or loss<3) and seed=1",
    ],
)
def test_what_does_not_match(expression: str) -> None:
    assert not matches(expression)


@pytest.mark.parametrize(
    ("expression", "column", "said"),
    [
        ("", 1, "expected a key"),
        ("activation", 11, "expected an operator after 'activation', not the end (= != < <= > >= ~)"),
        ("activation=", 12, "expected a value after '=', not the end"),
        ("loss<4 und seed=0", 8, "expected 'and' or 'or' before 'und' (did you mean 'and'?)"),
        ("loss<4 seed=0", 8, "expected 'and' or 'or' before 'seed'"),
        ("loss<4 and", 11, "expected a key, as in activation=raf, not the end"),
        ("loss<4 and or seed=0", 12, "expected a key, as in activation=raf, not 'or'"),
        ("(loss<4 or (seed=0)", 1, "this parenthesis is not closed"),
        ("loss<4)", 7, "before ')'"),
        ("name='a", 6, "this quote is not closed"),
        ("loss ! 4", 6, "'!' is not understood"),
        ("loss<(4)", 6, "expected a value after '<', not '('"),
        ("'loss'<4", 1, "expected a key"),
        ("(" * 3000 + "a=1" + ")" * 3000, 101, "nested too deeply"),
        ("not " * 3000 + "a=1", 401, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_column(expression: str, column: int, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(expression)
    assert str(caught.value).startswith(f"--where, column {column}: ")
    assert said in str(caught.value)


def test_all_that_is_compared_is_told_in_order_with_its_column() -> None:
    compared = list(parse("a=x and not (b<'4' or c~y) or d=null and e>=2").comparisons())
    assert [(one.key, one.column, one.needs_word()) for one in compared] == [
        ("a", 1, True),
        ("b", 14, True),
        ("c", 23, False),
        ("d", 31, False),
        ("e", 42, False),
    ]


def test_many_conditions_side_by_side_are_not_deep() -> None:
    assert matches(" and ".join(["(loss<4)"] * 2000))


CONDITIONS = st.recursive(
    st.sampled_from([(key, sign, n) for key in ("a", "b") for sign in ("=", "!=", "<", ">=") for n in (0, 1, 2)]),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(inner, st.just("and"), inner),
        st.tuples(inner, st.just("or"), inner),
    ),
    max_leaves=8,
)


def written(condition: Any, for_python: bool) -> str:
    if condition[0] == "not":
        return f"(not {written(condition[1], for_python)})"
    if condition[1] in ("and", "or"):
        left, right = (written(part, for_python) for part in (condition[0], condition[2]))
        return f"({left} {condition[1]} {right})"
    key, sign, number = condition
    return f"{key} {'==' if sign == '=' and for_python else sign} {number}"


@settings(max_examples=60, deadline=None)
@given(CONDITIONS, st.integers(0, 2), st.integers(0, 2))
def test_nested_conditions_mean_what_python_says(condition: Any, a: int, b: int) -> None:
    values = {"a": a, "b": b}
    assert parse(written(condition, False)).matches(values.get) == eval(written(condition, True), {}, values)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab=<>!~()'\" .0nortd&", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text).matches({}.get)
    except BadInput as error:
        assert str(error).startswith("--where, column ")
