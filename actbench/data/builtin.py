"""The corpus `builtin`: English technical prose that every installation already holds, read at run time.

It is Python's language reference, and the docstrings and comments of the standard library and of the
distributions below, each of which is a dependency of ours or of one of them. Nothing is downloaded, and the
text is a function of the Python version and the distributions' versions alone: files come from the
distributions' own lists, in sorted order, and what differs between platforms is left out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from actbench.data import cache, prose

FILTER_VERSION = 1  # raise with every change, here or in prose.py, that alters the text
MIN_CHARACTERS = 200  # a module with less prose is no document
_FILE = "documents.jsonl"

DISTRIBUTIONS = (
    "aiohttp", "attrs", "click", "datasets", "filelock", "fonttools", "fsspec", "huggingface_hub", "jinja2",
    "lightning", "matplotlib", "mpmath", "networkx", "numpy", "packaging", "pandas", "pillow", "pydantic",
    "pyparsing", "python-dateutil", "rich", "scipy", "setuptools", "sympy", "torch", "torchmetrics", "typer",
)  # fmt: skip

_SKIPPED_FOLDERS = frozenset({"test", "tests", "testing", "_vendor", "_vendored", "vendor", "idle_test"})
# Written when a wheel is built, so that it tells of the machine that built it.
_GENERATED = frozenset({"__config__.py", "version.py", "_version.py", "_version_meson.py"})
# Parts of the standard library that some systems package apart.
_SOMETIMES_ABSENT = frozenset({"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "pydoc_data"})


def versions() -> dict[str, str | None]:
    """What decides the text: the filter's version, Python's and each distribution's (None: not installed)."""
    found: dict[str, str | None] = {"filter": str(FILTER_VERSION), "python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
        else:
            found[name] = distribution.version if distribution.read_text("RECORD") else None
    return found


def cached_documents(say: Callable[[str], None]) -> Iterator[str]:
    """The same documents from the cache, read from the installed sources first where the cache has none.

    Raises RunFailed when the cache cannot be written.
    """
    key = hashlib.sha256(json.dumps(versions()).encode()).hexdigest()[:32]
    entry = cache.fetch("builtin", key, _write, say, "the builtin corpus")
    with (entry.folder / _FILE).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _write(folder: Path) -> dict[str, Any]:
    count = characters = 0
    with (folder / _FILE).open("w", encoding="utf-8") as lines:
        for document in documents():
            lines.write(json.dumps(document) + "\n")
            count, characters = count + 1, characters + len(document)
    return {"versions": versions(), "documents": count, "characters": characters}


def documents() -> Iterator[str]:
    """The documents: a page of the language reference, or a module's prose; no paragraph comes twice.

    Paragraphs are separated by an empty line. Takes about ten seconds of one core.
    """
    collector = _Collector()
    yield from collector.documents(_topics())
    for _, path in _standard_library():
        yield from collector.documents(_module(path))
    for name in DISTRIBUTIONS:
        for path in _distribution_files(name):
            yield from collector.documents(_module(path))


@dataclass
class _Collector:
    """Puts paragraphs together to documents and remembers those it has seen."""

    seen: set[str] = field(default_factory=set)

    def documents(self, pages: Iterator[list[str]]) -> Iterator[str]:
        """One document for each page: a page is a list of texts that are to be filtered."""
        for texts in pages:
            kept = [p for text in texts for p in prose.paragraphs(text) if self._is_new(p)]
            document = "\n\n".join(kept)
            if len(document) >= MIN_CHARACTERS:
                yield document

    def _is_new(self, paragraph: str) -> bool:
        known = len(self.seen)
        self.seen.add(paragraph)
        return len(self.seen) > known


def _topics() -> Iterator[list[str]]:
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield [topics[name]]


def _module(path: Path) -> Iterator[list[str]]:
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    yield list(prose.texts_in(source))


def _standard_library() -> Iterator[tuple[str, Path]]:
    """(name, file) of the standard library's Python sources, by name; the same list on every platform."""
    folder = Path(sysconfig.get_path("stdlib"))
    for top in sorted(sys.stdlib_module_names - _SOMETIMES_ABSENT):
        module, package = folder / f"{top}.py", folder / top
        if module.is_file():
            yield module.name, module
        elif package.is_dir():
            files = {path.relative_to(folder).as_posix(): path for path in package.rglob("*.py")}
            yield from ((name, files[name]) for name in sorted(files) if _is_wanted(PurePosixPath(name)))


def _distribution_files(name: str) -> Iterator[Path]:
    """The Python sources that an installed distribution lists as its own, by name."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return
    files = {file.as_posix(): file for file in distribution.files or []}
    for path in sorted(files):
        if _is_wanted(files[path]):
            yield Path(str(distribution.locate_file(files[path])))


def _is_wanted(file: PurePosixPath) -> bool:
    return (
        file.suffix == ".py"
        and file.parts[0] != ".."
        and file.name not in _GENERATED
        and not file.name.startswith(("test_", "conftest"))
        and _SKIPPED_FOLDERS.isdisjoint(file.parts[:-1])
    )
