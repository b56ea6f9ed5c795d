"""Where a corpus' documents come from: one `Source` for each kind of corpus, and the reading of text files.

A source yields its documents one after the other, long ones in parts, and knows beforehand what decides them, so
that text which is packed already is not read again.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from actbench.data import cache
from actbench.errors import BadInput, Problem, nearest

PLAIN_TEXT = (".txt", ".txt.gz", ".tokens")  # the last is how WikiText names its plain text
JSON_LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst")  # C4's and Dolma's end in .json.gz
SUFFIXES = (*PLAIN_TEXT, *JSON_LINES, ".parquet")
PART_BYTES = 1 << 20


class Part(NamedTuple):
    """A stretch of a document's text, so that none need be in memory as a whole; `ends` marks its last one.

    With that one, `place` is JSON data from which the source goes on after the document.
    """

    text: str
    ends: bool
    place: Any = None


def whole(documents: Iterable[str], done: int | None = None) -> Iterator[Part]:
    """Documents of one part each, without the first `done`; a place is a number of documents."""
    return (Part(document, True, number) for number, document in islice(enumerate(documents, start=1), done, None))


@dataclass(frozen=True)
class Source:
    """A corpus that can be read.

    name: how messages call it.
    key: JSON data; equal keys mean equal documents in equal order.
    facts: JSON data for the manifest.
    parts: starts from the first document, or goes on from the place of a former part; raises BadInput naming a
        fault's place.
    """

    name: str
    key: dict[str, Any]
    facts: dict[str, Any]
    parts: Callable[..., Iterator[Part]]

    def read(self) -> Iterator[str]:
        """The documents as wholes, from the first. Raises as `parts`."""
        texts: list[str] = []
        for part in self.parts():
            texts.append(part.text)
            if part.ends:
                yield "".join(texts)
                texts = []


def files_source(patterns: list[str], text_field: str) -> Source:
    """The documents of text files.

    Raises BadInput for all patterns without a file and files of unknown kind, or the first unreadable file.
    """
    paths = expand(patterns)
    hashes = [file_sha256(path) for path in paths]
    kinds = [_suffix(path) for path in paths]
    # Not the names: moved files are still the same text.
    key = {
        "source": "files",
        "files": [list(pair) for pair in zip(kinds, hashes, strict=True)],
        "field": text_field,
    }
    listed = [{"path": str(path), "sha256": sha} for path, sha in zip(paths, hashes, strict=True)]
    facts = {"source": "files", "files": listed, "text_field": text_field}

    def parts(place: tuple[int, int] = (0, 0)) -> Iterator[Part]:
        first, done = place
        for number, path in enumerate(paths[first:], start=first):
            for part in read_file(path, text_field, done if number == first else 0):
                yield Part(part.text, part.ends, (number, part.place))

    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return Source(name, key, facts, parts)


def expand(patterns: list[str]) -> list[Path]:
    """The files that paths and globs (`**` descends) name: sorted, each once. Raises as `files_source`."""
    found: dict[Path, Path] = {}
    problems = []
    for pattern in patterns:
        matches = _matches(pattern)
        if not matches:
            problems.append(_no_match(pattern))
        for path in matches:
            if not _suffix(path):
                hint = f"known kinds: {', '.join(SUFFIXES)}"
                problems.append(Problem("not a kind of text file that can be read", str(path), "corpus.files", hint))
            found.setdefault(path.resolve(), path)
    if problems:
        raise BadInput(problems)
    return sorted(found.values(), key=str)


def _matches(pattern: str) -> list[Path]:
    plain = Path(pattern).expanduser()
    if plain.is_file():  # also a name that holds a bracket
        return [plain]
    matches = glob.glob(str(plain), recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
    return [path for match in matches if (path := Path(match)).is_file()]


def _no_match(pattern: str) -> Problem:
    if glob.has_magic(pattern):
        return Problem("matches no file", pattern, "corpus.files", f"looked from {Path.cwd()}")
    siblings = sorted(str(path) for path in Path(pattern).parent.glob("[!.]*"))
    return Problem("no such file", pattern, "corpus.files", nearest(pattern, siblings) if len(siblings) < 100 else "")


def _suffix(path: Path) -> str:
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")


def file_sha256(path: Path) -> str:
    """A file's sha256, remembered in the cache for its path, size, and what changes as it does or is replaced."""
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            marks = (stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
            known_as = json.dumps([str(path.resolve()), *marks])
            note = cache.root() / "files" / hashlib.sha256(known_as.encode()).hexdigest()[:32]
            if note.is_file() and len(known := note.read_text(encoding="ascii")) == 64:
                return known
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None
    cache.write_note(note, digest)
    return digest


def read_file(path: Path, text_field: str, done: int = 0) -> Iterator[Part]:
    """The documents of one file: a .txt or .tokens is one, so is a line of JSON or a row of .parquet, but for nulls.

    The first `done` documents are left out. Raises BadInput naming the file, and the line where there are lines.
    """
    suffix = _suffix(path)
    try:
        if suffix == ".parquet":
            yield from whole(_parquet_rows(path, text_field), done)
            return
        with _opened(path) as file:
            if suffix in JSON_LINES:
                yield from whole(_json_lines(file, path, text_field), done)
            elif not done:
                yield from _plain_text(file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(Problem(f"not a whole gzip file: {error}", str(path))) from None
    except OSError as error:
        if suffix.endswith(".zst") and error.errno is None:  # not the system's but the unpacker's
            raise BadInput(Problem(f"not a whole zstd file: {error}", str(path))) from None
        raise _unreadable(path, error) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked."""
    if path.name.lower().endswith(".zst"):
        import pyarrow

        with pyarrow.input_stream(str(path), compression="zstd") as raw, io.BufferedReader(raw) as file:
            yield file
        return
    with cast(BinaryIO, gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        yield file


def _plain_text(file: BinaryIO, path: Path) -> Iterator[Part]:
    text, number = "", 1
    while lines := file.readlines(PART_BYTES):
        if number > 1:
            yield Part(text, False)
        text = _decode(b"".join(lines), path, number)
        if number == 1:
            text = text.removeprefix("\ufeff")
        number += len(lines)
    yield Part(text, True, 1)


def _json_lines(file: Iterable[bytes], path: Path, text_field: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        text = _decode(line, path, number).strip()
        if not text:
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(text)
        except ValueError as error:
            raise BadInput(Problem(f"not JSON: {error}", where)) from None
        if not isinstance(row, dict):
            raise BadInput(Problem('expected an object, as in {"text": "..."}', where))
        document = text_of(row, text_field, where)
        if document is not None:
            yield document


def _parquet_rows(path: Path, text_field: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if text_field not in (names := file.schema_arrow.names):
                raise missing_field(text_field, names, str(path))
            row = 0
            for batch in file.iter_batches(batch_size=1024, columns=[text_field]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    document = text_of({text_field: value}, text_field, f"{path}: row {row}")
                    if document is not None:
                        yield document
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(Problem(f"not a whole parquet file: {error}", str(path))) from None


def text_of(row: dict[str, Any], text_field: str, where: str) -> str | None:
    """A row's text, or None for a null. Raises BadInput when it is missing, not text, or no valid Unicode."""
    if text_field not in row:
        raise missing_field(text_field, list(row), where)
    value = row[text_field]
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadInput(
            Problem(f"'{text_field}' holds {type(value).__name__}, expected text", where, "corpus.text_field")
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(Problem(f"'{text_field}' is not valid Unicode: {error.reason}", where)) from None
    return value


def missing_field(text_field: str, known: list[str], where: str) -> BadInput:
    """The error for a text field that a row or table does not have, with the name that is meant perhaps."""
    return BadInput(Problem(f"no field '{text_field}'", where, "corpus.text_field", nearest(text_field, known)))


def _decode(data: bytes, path: Path, first_line: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        hint = "convert the file to UTF-8"
        raise BadInput(Problem(f"byte 0x{data[error.start]:02x} is not UTF-8", f"{path}:{line}", hint=hint)) from None


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(Problem(f"cannot be read: {error.strerror or error}", str(path)))
