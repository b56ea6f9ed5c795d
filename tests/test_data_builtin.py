"""The builtin corpus is large, reads as English, comes from our own dependencies, and is always the same."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from actbench.data import builtin, prose


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return list(builtin.documents())


def test_it_has_at_least_five_million_characters_of_prose(documents: list[str]) -> None:
    assert sum(map(len, documents)) >= 5_000_000
    assert len(documents) >= 2000
    assert min(map(len, documents)) >= builtin.MIN_CHARACTERS


def test_no_paragraph_comes_twice(documents: list[str]) -> None:
    paragraphs = [paragraph for document in documents for paragraph in document.split("\n\n")]
    assert len(paragraphs) == len(set(paragraphs))


def test_it_reads_as_english(documents: list[str]) -> None:
    text = "\n".join(documents)
    words = re.findall(r"[a-z]+", text.lower())
    assert 0.05 < words.count("the") / len(words) < 0.10  # about 0.06 in English
    letters = sum(character.isalpha() or character == " " for character in text)
    assert letters / len(text) > 0.95
    assert text.isascii()


@pytest.mark.parametrize("noise", [">>>", "::", "``", ":param", "http://", "https://", "Copyright", "=====", "\t"])
def test_markup_code_and_licences_are_gone(documents: list[str], noise: str) -> None:
    assert not [document for document in documents if noise in document]


def test_it_draws_on_the_language_reference_the_library_and_the_dependencies(documents: list[str]) -> None:
    text = "\n".join(documents)
    assert "When the name is bound to an object, evaluation of the atom" in text  # language reference
    assert "Wait for the process to terminate" in text  # standard library
    assert "The arithmetic mean is the sum of the non-NaN elements along the axis" in text  # numpy


def test_another_process_with_other_hashes_finds_the_same_text() -> None:
    code = (
        "import hashlib; from actbench.data import builtin; builtin.DISTRIBUTIONS = ('click', 'jinja2');"
        "print(hashlib.sha256('\\0'.join(builtin.documents()).encode()).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1


def test_every_distribution_is_a_runtime_dependency() -> None:
    """Of ours, directly or through another: tools for development are not installed everywhere."""
    found: set[str] = set()
    waiting = ["actbench"]
    while waiting:
        name = waiting.pop()
        for requirement in importlib.metadata.requires(name) or []:
            required = re.match(r"[\w.-]+", requirement)
            assert required
            plain = re.sub(r"[-_.]+", "-", required[0]).lower()
            if "extra ==" not in requirement and plain not in found and _is_installed(plain):
                found.add(plain)
                waiting.append(plain)
    # fsspec[http] of lightning brings aiohttp, which brings attrs
    assert {re.sub(r"[-_.]+", "-", name) for name in builtin.DISTRIBUTIONS} - found <= {"aiohttp", "attrs"}


def _is_installed(name: str) -> bool:
    try:
        return importlib.metadata.distribution(name) is not None
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("numpy/ma/core.py", True),
        ("numpy/__config__.py", False),  # written when the wheel is built
        ("torch/version.py", False),
        ("numpy/ma/tests/test_core.py", False),
        ("click/testing.py", True),
        ("../../bin/tool.py", False),
        ("numpy/core.pyi", False),
    ],
)
def test_which_files_are_read(file: str, wanted: bool) -> None:
    assert builtin._is_wanted(PurePosixPath(file)) is wanted


def test_the_second_time_it_comes_from_the_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(builtin, "documents", lambda: iter(["one", "two"]))
    said: list[str] = []
    assert list(builtin.cached_documents(said.append)) == ["one", "two"]
    monkeypatch.setattr(builtin, "documents", lambda: pytest.fail("read again"))
    assert list(builtin.cached_documents(said.append)) == ["one", "two"]
    assert "packing" in said[0] and "found in the cache" in said[1]


def test_another_version_is_another_corpus(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ACTBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(builtin, "documents", lambda: iter(["old"]))
    list(builtin.cached_documents(lambda _: None))
    monkeypatch.setattr(builtin, "documents", lambda: iter(["new"]))
    monkeypatch.setattr(builtin, "versions", lambda: {"numpy": "99"})
    assert list(builtin.cached_documents(lambda _: None)) == ["new"]


def test_versions_name_what_decides_the_text() -> None:
    versions = builtin.versions()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(builtin.DISTRIBUTIONS) < set(versions)


SENTENCE = "The quick brown fox jumps over the lazy dog because it is in the way of the fox."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SENTENCE, [SENTENCE]),
        (SENTENCE.replace("fox jumps", "fox\njumps"), [SENTENCE]),
        (f"{SENTENCE}\n\n>>> print('{SENTENCE}')\n{SENTENCE}\n\n{SENTENCE}", [SENTENCE, SENTENCE]),
        (f"Parameters\n----------\nx : int\n    {SENTENCE}\n\nNotes\n-----\n{SENTENCE}", [SENTENCE]),
        (f"Args:\n    x: {SENTENCE}\n\n    {SENTENCE}\n\n{SENTENCE}", [SENTENCE]),
        (f".. code-block:: python\n\n    {SENTENCE}\n\n{SENTENCE}", [SENTENCE]),
        (f".. note::\n\n    {SENTENCE}", [SENTENCE]),
        (f"{SENTENCE[:-1]}::\n\n    {SENTENCE}\n\n{SENTENCE}", [SENTENCE]),
        (f":param x: {SENTENCE}\n    {SENTENCE}", []),
        (f"- {SENTENCE}\n- {SENTENCE}", [SENTENCE, SENTENCE]),
        (SENTENCE.replace("fox jumps", "*fox* ``jumps``"), [SENTENCE]),
        (SENTENCE.replace("fox jumps", ":class:`~zoo.fox` :meth:`jumps <zoo.fox.jumps>`"), [SENTENCE]),
        (SENTENCE.replace("dog", "`dog <https://dog.org>`_ [1]_"), [SENTENCE]),
        (SENTENCE.replace("dog", ":math:`x^2`"), []),
        ("for x in the_list: if x is not None and x.is_valid(): the_other.append(x) or not.", []),
        ("Copyright is held by the authors of this, and it is theirs to use as they will do.", []),
        ("Der schnelle braune Fuchs springt über den faulen Hund, weil er im Weg liegt.", []),
        ("Le renard brun saute par dessus le chien paresseux parce que ce dernier le gêne.", []),
        ("Too short to count.", []),
        ("The fox is in the way of the dog and this sentence does not come to an end", []),
    ],
)
def test_paragraphs(text: str, expected: list[str]) -> None:
    assert list(prose.paragraphs(text)) == expected


def test_docstrings_and_comments_come_in_source_order() -> None:
    source = '''"""Module."""
value = "# no comment"  # nor this
# One
# two.
def f():
    r"""Raw \\d."""
    text = """not a docstring"""
    # don't stop at a quote
    return '"""'

attach(f, """
    Handed over.
    """)
'''
    assert list(prose.texts_in(source)) == ["Module.", "One\ntwo.", "Raw \\d.", "don't stop at a quote"]
