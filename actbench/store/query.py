"""What `--where` understands: `activation=raf and (val_loss<4 or not model.n_layers>=12) and task~'probe'`.

    expression = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation = "not" negation | "(" expression ")" | key operator value

A value is a number, a word, or text in quotes. `null` is what a run without that key has.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from actbench.errors import BadInput, Problem, nearest

ValueOf = Callable[[str], Any]

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~")
ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>'[^']*'|"[^"]*")|(?P<operator>!=|<=|>=|==|[=<>~])|(?P<paren>[()])|(?P<word>[^\s()'"=<>~!]+))"""
)


class Condition(Protocol):
    """What a run matches or does not."""

    def matches(self, value_of: ValueOf) -> bool:
        """Whether the run whose values `value_of` tells matches."""

    def comparisons(self) -> Iterator[Comparison]:
        """All that it compares, in order."""


@dataclass(frozen=True)
class Comparison:
    """A key, an operator and a value. `number` is None where the value is no number or stands in quotes.

    `column` is where the key stands in the expression, from 1.
    """

    key: str
    operator: str
    text: str | None  # None: null
    number: float | None
    column: int

    def matches(self, value_of: ValueOf) -> bool:
        """A missing value is only ever equal to null, so that no ordering takes it in."""
        value = comparable(value_of(self.key))
        if self.operator in ("=", "!="):
            return self._equals(value) == (self.operator == "=")
        if value is None or self.text is None:
            return False
        if self.operator == "~":
            return self.text in as_text(value)
        if isinstance(value, str):
            return ORDERINGS[self.operator](value, self.text)
        return self.number is not None and ORDERINGS[self.operator](value, self.number)

    def comparisons(self) -> Iterator[Comparison]:
        """Itself."""
        yield self

    def needs_word(self) -> bool:
        """Whether no number can be before, after or equal to its value."""
        return self.operator != "~" and self.text is not None and self.number is None

    def _equals(self, value: Any) -> bool:
        if is_number(value) and self.number is not None:
            return bool(value == self.number)
        return (None if value is None else as_text(value)) == self.text


@dataclass(frozen=True)
class Not:
    """What the inner condition does not match."""

    inner: Condition

    def matches(self, value_of: ValueOf) -> bool:
        """The opposite of the inner condition."""
        return not self.inner.matches(value_of)

    def comparisons(self) -> Iterator[Comparison]:
        """Those of the inner condition."""
        yield from self.inner.comparisons()


@dataclass(frozen=True)
class Several:
    """Conditions of which `all` or `any` must hold."""

    parts: tuple[Condition, ...]
    together: Callable[[Iterator[bool]], bool]

    def matches(self, value_of: ValueOf) -> bool:
        """Whether enough of the parts do."""
        return self.together(part.matches(value_of) for part in self.parts)

    def comparisons(self) -> Iterator[Comparison]:
        """Those of every part, in order."""
        for part in self.parts:
            yield from part.comparisons()


def comparable(value: Any) -> Any:
    """A number, a word or None as it is; a list or a section as the JSON text it is."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def is_number(value: Any) -> bool:
    """Whether it is one; true and false are words."""
    return isinstance(value, float | int) and not isinstance(value, bool)


def as_text(value: Any) -> str:
    """A value as it is typed: `true`, `4096`, `raf`."""
    return value if isinstance(value, str) else json.dumps(value)


def parse(text: str) -> Condition:
    """Reads an expression. Raises BadInput that names the column where it cannot be understood."""
    return _Parser(text).whole()


@dataclass(frozen=True)
class _Token:
    kind: str  # "quoted", "operator", "paren", "word" or "end"
    text: str
    column: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            what = "this quote is not closed" if text[at] in "'\"" else f"'{text[at]}' is not understood"
            _refuse(at + 1, what)
        assert found.lastgroup is not None
        yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1)
        at = found.end()
    yield _Token("end", "", end + 1)


class _Parser:
    """Recursive descent: one method a rule of the grammar."""

    def __init__(self, text: str):
        self.tokens = list(_tokens(text))
        self.depth = 0

    @property
    def next(self) -> _Token:
        return self.tokens[0]

    def take(self) -> _Token:
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.next

    def whole(self) -> Condition:
        condition = self.expression()
        if self.next.kind != "end":
            hint = nearest(self.next.text, ["and", "or"]) if self.next.kind == "word" else ""
            _refuse(self.next.column, f"expected 'and' or 'or' before '{self.next.text}'", hint)
        return condition

    def expression(self) -> Condition:
        return self.joined("or", lambda: self.joined("and", self.negation, all), any)

    def joined(self, word: str, part: Callable[[], Condition], together: Callable[[Any], bool]) -> Condition:
        parts = [part()]
        while self.next.is_word(word):
            self.take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Several(tuple(parts), together)

    def negation(self) -> Condition:
        self.depth += 1
        if self.depth > 100:
            _refuse(self.next.column, "nested too deeply")
        if self.next.is_word("not"):
            self.take()
            condition: Condition = Not(self.negation())
        elif self.next.text == "(" and self.next.kind == "paren":
            opened = self.take()
            condition = self.expression()
            if self.take().text != ")":
                _refuse(opened.column, "this parenthesis is not closed")
        else:
            condition = self.comparison()
        self.depth -= 1
        return condition

    def comparison(self) -> Comparison:
        key, sign, value = self.take(), self.take(), self.take()
        if key.kind != "word" or key.text.lower() in ("and", "or", "not"):
            _refuse(key.column, f"expected a key, as in activation=raf, {_found(key)}")
        if sign.kind != "operator":
            _refuse(sign.column, f"expected an operator after '{key.text}', {_found(sign)}", " ".join(OPERATORS))
        if value.kind not in ("word", "quoted"):
            _refuse(value.column, f"expected a value after '{sign.text}', {_found(value)}")
        sign_text = "=" if sign.text == "==" else sign.text
        if value.kind == "quoted":
            return Comparison(key.text, sign_text, value.text[1:-1], None, key.column)
        text = None if value.text == "null" else value.text
        number = float(value.text) if NUMBER.fullmatch(value.text) else None
        return Comparison(key.text, sign_text, text, number, key.column)


def _found(token: _Token) -> str:
    return "not the end" if token.kind == "end" else f"not '{token.text}'"


def _refuse(column: int, message: str, hint: str = "") -> NoReturn:
    raise BadInput(Problem(message, where=f"--where, column {column}", hint=hint))
