"""Files of rational coefficients, and how a recipe names one: FILE or FILE:MODEL.

A file is JSON: {"about": text, "version": "A", "models": {MODEL: [{"num": [a_0..a_m], "den": [b_1..b_n]}, ...]}}. The
version is A where none is given; C's "den" begins with b_0. One entry serves all slots; several are a model's layers in
order and then, optionally, its pooler.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

from actbench.activations.fitting import Version
from actbench.errors import nearest

REFERENCE = re.compile(r"(?P<file>.*\.json)(?::(?P<model>.+))?")


@dataclass(frozen=True)
class Entry:
    """One slot's rational function: a_0..a_m, and b_1..b_n or, in version C, b_0..b_n."""

    version: Version
    numerator: list[float]
    denominator: list[float]

    @property
    def degrees(self) -> tuple[int, int]:
        """(m, n)."""
        return len(self.numerator) - 1, len(self.denominator) - (self.version == "C")


def names_file(text: object) -> bool:
    """Whether the text is FILE or FILE:MODEL, where a file's name ends in .json."""
    return isinstance(text, str) and REFERENCE.fullmatch(text) is not None


def read(reference: str) -> tuple[str, list[Entry]]:
    """The model's name and its entries. Raises ValueError for a missing or damaged file or an unknown model."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f"'{reference}' names no coefficient file: it is FILE.json or FILE.json:MODEL")
    path, model = Path(match["file"]), match["model"]
    models, version = _load(path)
    if model is None and len(models) == 1:
        model = next(iter(models))
    if model is None:
        raise ValueError(f"{path} holds several models: name one as {path}:MODEL ({nearest('', list(models))})")
    if model not in models:
        raise ValueError(f"{path} has no model '{model}' ({nearest(model, list(models))})")
    entries = models[model]
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}, {model}: no entries")
    return model, [_entry(f"{path}, {model}, entry {i}", entry, version) for i, entry in enumerate(entries, start=1)]


def matching(reference: str) -> list[str]:
    """The references to the models that FILE.json:PATTERN means, in the file's order; one without a * as it is.

    Raises ValueError for a missing or damaged file, and where no model matches.
    """
    match = REFERENCE.fullmatch(reference)
    pattern = match["model"] if match else None
    if match is None or not pattern or "*" not in pattern:
        return [reference]
    models, _ = _load(Path(match["file"]))
    found = [model for model in models if fnmatchcase(model, pattern)]
    if not found:
        raise ValueError(f"{match['file']} has no model like '{pattern}' ({nearest('', list(models))})")
    return [f"{match['file']}:{model}" for model in found]


def _load(path: Path) -> tuple[dict[str, Any], Version]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, dict) or not models:
        raise ValueError(f'{path} is no coefficient file: it has no "models"')
    version = data.get("version", "A")
    if version not in get_args(Version):
        raise ValueError(f"{path}: unknown version '{version}' ({nearest(str(version), get_args(Version))})")
    return models, version


def _entry(where: str, entry: Any, version: Version) -> Entry:
    numerator = _numbers(where, entry, "num", 1)
    return Entry(version, numerator, _numbers(where, entry, "den", 1 + (version == "C")))


def _numbers(where: str, entry: Any, key: str, least: int) -> list[float]:
    values = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(values, list) or len(values) < least or not all(map(_is_number, values)):
        raise ValueError(f'{where}: "{key}" must be a list of finite numbers, at least {least}')
    return [float(value) for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
