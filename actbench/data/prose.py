"""Finds English prose in Python source: reads docstrings and comments, drops what is not a sentence.

A paragraph is one line of text here: wrapped lines are joined, inline markup is taken off. The filter prefers
losing a good paragraph to keeping a bad one. It uses nothing but the text, so equal sources give equal prose.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Strings and comments are all of Python's syntax that matters here: with both, a quote in a comment and a
# hash in a string are read rightly. A parser does the same ten times slower, and knows no documentation
# handed to a function.
_STRING_OR_COMMENT = re.compile(
    r"#[^\n]*"
    r'|"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    r"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    r"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'",
    re.DOTALL,
)

_SECTION_NAMES = """
arguments; args; attributes; author; authors; constructor arguments; example; extra tags; inherits; input
inputs; keyword args; keyword arguments; kwargs; methods; options; other parameters; output; outputs
parameters; params; properties; raises; receives; reference; references; return; returns; see also; shape
signature; usage; yields
"""
_SECTIONS_WITHOUT_PROSE = frozenset(name.strip() for name in re.split("[;\n]", _SECTION_NAMES) if name)
_DIRECTIVES_WITH_PROSE = frozenset(
    ("note", "warning", "warn", "caution", "important", "tip", "hint", "attention", "seealso", "rubric")
)
_ENGLISH = """
a all also an and any are as at be because been between both but by can do does each for from had has
have how if in into is it its may more must no not of on one only or other same should since so such than
that the their then there these they this to use used using was we were what when where which while will
with would you
"""
_FUNCTION_WORDS = frozenset(_ENGLISH.split())

_UNDERLINE = re.compile(r"([=\-~^*#\"'.`+_])\1{2,}$")
_BULLET = re.compile(r"(?:[-*+•o]|#\.|\(?(?:\d{1,2}|[a-z])[.)]|\[\d+\])\s+(?=\S)")
_DIRECTIVE = re.compile(r"\.\.\s*([\w-]+)::")
_PROSE_END = re.compile(r"[.!?][\"')]?$")
_MARKUP = [
    (re.compile(r":(?:[\w+-]+:)?[\w+-]+:`[^`<]*<([^`>]*)>`"), None),
    (re.compile(r":math:`[^`]*`"), "\0"),  # no sentence survives without its formula
    (re.compile(r":(?:[\w+-]+:)?[\w+-]+:`([^`]*)`"), None),
    (re.compile(r"`([^`<]*?)\s*<[^`>]*>`_{0,2}"), r"\1"),
    (re.compile(r"\s*\[[\w.+-]+\]_"), ""),
    (re.compile(r"``([^`]*)``"), r"\1"),
    (re.compile(r"`([^`]*)`_{0,2}"), r"\1"),
    (re.compile(r"\*\*([^*\s][^*]*)\*\*"), r"\1"),
    (re.compile(r"(?<!\w)\*([^*\s][^*]*)\*"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)\s]*\)"), r"\1"),
]
_ROLE = re.compile(r"[!~.]*(?:[\w]+\.)*")
_NOISE = re.compile(
    r"://|\0|[<>=|{}\\@$^~#]|--+>?|\w\(\w|\w\[|\.\.\.|//|::|\b\w+/\w+/\w+|`|[*_]{2}|\S{32}"
    r"|(?i:copyright|licen[sc]e|all rights reserved|permission|warrant|redistribut|liabil"
    r"|pylint|noqa|mypy:|isort|fmt:|todo|fixme|\bxxx\b"
    r"|versionadded|versionchanged|deprecated::|e-?mail|\bsee\.$)"
)
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_PLAIN = re.compile(r"[(\"']*(?:[A-Z]?[a-z]+|[A-Z]{1,6}s?)(?:['’-][A-Za-z]+)*[)\"']*[.,;:!?]?[)\"']*$")


def texts_in(source: str) -> Iterator[str]:
    """The docstrings and comment blocks of Python `source`, in its order.

    A docstring is any triple-quoted string that starts a line: a module's, a class's, a function's, an
    attribute's, or one that is handed to a function which attaches it to compiled code.
    """
    comment: list[str] = []
    column = end = -1
    for match in _STRING_OR_COMMENT.finditer(source):
        start = match.start()
        before = source[source.rfind("\n", 0, start) + 1 : start]
        token = match.group()
        is_comment = token[0] == "#" and not before.strip()
        follows = is_comment and len(before) == column and source[end:start].strip(" \t") == "\n"
        if comment and not follows:
            yield inspect.cleandoc("\n" + "\n".join(comment))
            comment = []
        if is_comment:
            comment.append(token[1:])
            column, end = len(before), match.end()
        elif token.startswith(('"""', "'''")) and before.strip().lower() in ("", "r", "u"):
            yield inspect.cleandoc(_string_value(token, raw=before.strip().lower() == "r"))
    if comment:
        yield inspect.cleandoc("\n" + "\n".join(comment))


def _string_value(token: str, raw: bool) -> str:
    if raw or "\\" not in token:
        return token[3:-3]
    try:
        return str(ast.literal_eval(token))
    except (SyntaxError, ValueError):
        return token[3:-3]


def paragraphs(text: str) -> Iterator[str]:
    """The prose paragraphs of a docstring, comment or page, each on one line and without markup."""
    for block in _blocks(text):
        paragraph = _plain(" ".join(block))
        if is_prose(paragraph):
            yield paragraph


def _blocks(text: str) -> Iterator[list[str]]:
    """Runs of lines at one indentation, without code, doctests, directives, headings, parameter sections."""
    reader = _BlockReader()
    for line in [*text.expandtabs().splitlines(), ""]:
        block = reader.feed(line.strip(), len(line) - len(line.lstrip()))
        if block:
            yield block


@dataclass
class _BlockReader:
    """Where a reader of documentation stands: in which block, and what it skips at present."""

    block: list[str] = field(default_factory=list)
    column: int = 0
    deeper_than: int | None = None  # what is indented more than this is skipped
    in_doctest: bool = False  # until the next empty line
    in_section: bool = False  # until the next underlined heading

    def feed(self, words: str, indent: int) -> list[str]:
        """Takes a line (stripped) and its indentation; returns the block that it ends, empty for none."""
        if not words:
            self.in_doctest = False
            return self._end()
        if self.in_doctest or (self.deeper_than is not None and indent > self.deeper_than):
            return []
        self.deeper_than = None
        if _UNDERLINE.match(words):
            self.in_section = bool(self.block) and _is_section(self.block[-1])
            self.block = []
            return []
        bullet = _BULLET.match(words)
        starts_new = bool(bullet) or indent != self.column or words.startswith((">>>", "..", ":"))
        ended = self._end() if starts_new else []
        if words.startswith((">>>", "...", "In [")):
            self.in_doctest = True
        elif words.startswith(("..", ":")):
            directive = _DIRECTIVE.match(words)
            if not (directive and directive[1] in _DIRECTIVES_WITH_PROSE):
                self.deeper_than = indent
        elif words.endswith(":") and _is_section(words):
            self.deeper_than = indent
        elif not self.in_section:
            width = bullet.end() if bullet else 0
            self.block.append(words[width:])
            self.column = indent + width
        return ended

    def _end(self) -> list[str]:
        ended, self.block = self.block, []
        if ended and ended[-1].endswith("::"):  # code follows
            self.deeper_than = self.column
        return ended


def _is_section(heading: str) -> bool:
    return heading.lower().rstrip(":") in _SECTIONS_WITHOUT_PROSE


def _plain(paragraph: str) -> str:
    """`paragraph` without inline markup; a cross-reference becomes the last part of its name."""
    if "`" in paragraph or "*" in paragraph or "[" in paragraph:
        for pattern, replacement in _MARKUP:
            if replacement is None:
                paragraph = pattern.sub(lambda match: _ROLE.sub("", match[1], count=1), paragraph)
            else:
                paragraph = pattern.sub(replacement, paragraph)
    return " ".join(paragraph.split())


def is_prose(paragraph: str) -> bool:
    """Whether a line reads as English sentences: long enough, ended, mostly plain words, few symbols."""
    if len(paragraph) < 50 or not paragraph.isascii() or not _PROSE_END.search(paragraph):
        return False
    if not (paragraph[0].isupper() or paragraph[0] in "\"'(") or _NOISE.search(paragraph):
        return False
    words = paragraph.split()
    plain = sum(1 for word in words if _PLAIN.match(word))
    function = sum(1 for word in words if word.lower() in _FUNCTION_WORDS)
    return len(words) >= 9 and plain >= 0.85 * len(words) and function >= 0.25 * len(words)
