"""Packing texts of growing size, each in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.bench.growth import command, text
from actbench.bench.growth.fits import Exponents, exponents
from actbench.errors import BadInput, Problem

Say = Callable[[str], None]

MODULE = "actbench.bench.growth.packer"  # what the process runs
VOCABULARY = 4096
ROOM = 4  # times the text on disk: the text, the copy that is packed from, the tokens of both ways


@dataclass(frozen=True)
class Packing:
    """What packing took: seconds, the process's memory at its peak and before it began, tokens that came out.

    batch: seconds to make a batch of 16 x 128 of the tokens; first_batch: of the first one, with its epoch's order.
    """

    seconds: float
    peak_bytes: int
    bytes_before: int
    tokens: int
    first_batch: float
    batch: float

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "bytes_before": self.bytes_before,
            "tokens": self.tokens,
            "first_batch_seconds": self.first_batch,
            "batch_seconds": self.batch,
        }


@dataclass(frozen=True)
class TextPoint:
    """A text, packed with a tokenizer learnt from it, and with that tokenizer from its file."""

    size: int  # bytes of UTF-8
    learnt: Packing
    given: Packing

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"bytes": self.size, "learnt": self.learnt.to_json(), "given": self.given.to_json()}


@dataclass(frozen=True)
class Texts:
    """What happens when the text grows."""

    points: tuple[TextPoint, ...]

    @property
    def learnt_time(self) -> Exponents:
        """Of the seconds, where the tokenizer is learnt too."""
        return self._exponents(lambda point: point.learnt.seconds)

    @property
    def learnt_memory(self) -> Exponents:
        """Of the peak memory, where the tokenizer is learnt too."""
        return self._exponents(lambda point: point.learnt.peak_bytes)

    @property
    def given_time(self) -> Exponents:
        """Of the seconds, with a ready tokenizer."""
        return self._exponents(lambda point: point.given.seconds)

    @property
    def given_memory(self) -> Exponents:
        """Of the peak memory, with a ready tokenizer."""
        return self._exponents(lambda point: point.given.peak_bytes)

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "points": [point.to_json() for point in self.points],
            "exponents": {
                "learnt_time": self.learnt_time.to_json(),
                "learnt_memory": self.learnt_memory.to_json(),
                "given_time": self.given_time.to_json(),
                "given_memory": self.given_memory.to_json(),
            },
        }

    def _exponents(self, quantity: Callable[[TextPoint], float]) -> Exponents:
        return exponents([point.size for point in self.points], [quantity(point) for point in self.points])


def check_room(sizes: Iterable[int]) -> None:
    """Raises BadInput when the folder for temporary files has no room for the largest of the texts (in bytes)."""
    folder = tempfile.gettempdir()
    needed, free = ROOM * max(sizes, default=0), shutil.disk_usage(folder).free
    if needed > free:
        message = f"needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free"
        raise BadInput(Problem(message, "--text-mb", hint="set TMPDIR to another folder, or take smaller texts"))


def measure(
    size: int, documents: Callable[[], Iterable[str]], folder: Path, environment: Mapping[str, str]
) -> TextPoint:
    """A text of about `size` bytes, made of the documents in the empty `folder`. Raises CommandFailed."""
    file = folder / "text.jsonl"
    written = text.write(documents, size, file)
    learnt, tokenizer = _pack(file, str(VOCABULARY), {**environment, "ACTBENCH_CACHE": str(folder / "learnt")})
    given, _ = _pack(file, tokenizer, {**environment, "ACTBENCH_CACHE": str(folder / "given")})
    return TextPoint(written, learnt, given)


def _pack(file: Path, tokenizer: str, environment: Mapping[str, str]) -> tuple[Packing, str]:
    lines = command.run(MODULE, [str(file), tokenizer], environment)
    found = json.loads(next(line.text for line in reversed(lines) if line.text))
    packing = Packing(
        seconds=found["seconds"],
        peak_bytes=found["peak_bytes"],
        bytes_before=found["bytes_before"],
        tokens=found["tokens"],
        first_batch=found["first_batch_seconds"],
        batch=found["batch_seconds"],
    )
    return packing, found["tokenizer"]
