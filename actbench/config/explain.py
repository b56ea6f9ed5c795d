"""Turns pydantic's errors into problems a user can act on: file, line, dotted key, nearest right key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from actbench.config.yaml_source import Source
from actbench.errors import Problem

TAGS = ("family", "source", "finetune", "eval", "analyze")  # the keys that say which of a union's sections it is

# Keys of former versions, and what says the same now.
FORMER = {"model.pooler_activation": "say it as model.activation_overrides: [{slot: pooler, name: ...}]"}


def explain(error: ValidationError, source: Source, model: type[BaseModel]) -> list[Problem]:
    """One problem for each of pydantic's errors, in the order in which the keys stand in the schema."""
    return [_problem(item, source, model) for item in error.errors()]


def _problem(item: Any, source: Source, model: type[BaseModel]) -> Problem:
    path = _data_path(item["loc"], source.data, ends_in_key=item["type"] in ("missing", "extra_forbidden"))
    key = ".".join(path)
    where = source.place(key)
    parent = _section_at(model, path[:-1], source.data)
    if item["type"] == "extra_forbidden":
        return Problem("unknown key", where, key, _key_hint(path, parent, model))
    if item["type"] == "missing" and isinstance(item["loc"][-1], int):
        return Problem(f"too few values: {len(item['input'])}", where, key)
    if item["type"] == "missing":
        return Problem("missing", where, key, "this key is required")
    if item["type"].startswith("union_tag"):
        tag, known = item["ctx"]["discriminator"].strip("'"), item["ctx"].get("expected_tags", "")
        if item["type"] == "union_tag_not_found":
            return Problem(f"needs '{tag}'", where, key, f"one of {known}" if known else f"add '{tag}:'")
        given = item["ctx"]["tag"]
        return Problem(f"unknown {tag} '{given}'", source.place(f"{key}.{tag}"), f"{key}.{tag}", f"one of {known}")
    message = item["msg"].removeprefix("Value error, ").replace("valid tuple", "valid list")
    message = message[0].lower() + message[1:]
    given = item.get("input")
    if not isinstance(given, dict | list | BaseModel) and item["type"] != "value_error":
        message += f", not {given!r}"
    return Problem(message, where, key, _literal_hint(item))


def _data_path(loc: tuple[int | str, ...], data: Any, *, ends_in_key: bool) -> list[str]:
    """pydantic's location without the union tags it inserts: only keys and indices of the user's own data.

    `ends_in_key`: the last part is a key even where the data lack it.
    """
    path: list[str] = []
    tagged = False
    for i, part in enumerate(loc):
        if not tagged and isinstance(data, dict) and part in [data.get(tag) for tag in TAGS]:
            tagged = True  # it comes first, and may be called as a key is: corpus.files
            continue
        if _holds(data, part):
            data, tagged = data[part], False
        elif i < len(loc) - 1 or not isinstance(data, dict) or not ends_in_key:
            continue  # a union tag
        path.append(str(part))
    return path


def _holds(data: Any, part: int | str) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _literal_hint(item: Any) -> str:
    if item["type"] != "literal_error":
        return ""
    known = [word.strip(" '") for word in item["ctx"]["expected"].replace(" or ", ",").split(",")]
    close = difflib.get_close_matches(str(item["input"]), known, n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _key_hint(path: list[str], parent: type[BaseModel] | None, model: type[BaseModel]) -> str:
    if ".".join(path) in FORMER:
        return FORMER[".".join(path)]
    word = path[-1]
    siblings = list(parent.model_fields) if parent else []
    close = difflib.get_close_matches(word, siblings, n=1)
    if close:
        return f"did you mean '{'.'.join([*path[:-1], close[0]])}'?"
    all_keys = [key for key in _all_keys(model) if key != ".".join(path)]  # of another family or source
    elsewhere = [key for key in all_keys if key.rpartition(".")[2] == word]
    if elsewhere:
        return f"did you mean '{elsewhere[0]}'?"
    close = difflib.get_close_matches(word, sorted({key.rpartition(".")[2] for key in all_keys}), n=1)
    if close:
        full = next(key for key in all_keys if key.rpartition(".")[2] == close[0])
        return f"did you mean '{full}'?"
    return f"known here: {', '.join(siblings)}" if siblings else ""


def _section_at(model: type[BaseModel], path: list[str], data: Any) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    candidates = [model]
    for part in path:
        if isinstance(data, list):  # the list's field named the kinds of its items
            data = data[int(part)]
        else:
            field = section.model_fields.get(part) if section else None
            data = data.get(part) if isinstance(data, dict) else None
            candidates = list(_models(field.annotation)) if field else []
        section = _pick(candidates, data)
    return section


def _pick(candidates: list[type[BaseModel]], data: Any) -> type[BaseModel] | None:
    """Of a tagged union's members, the one whose literal tag the data carries."""
    for candidate in candidates:
        for tag in TAGS:
            field = candidate.model_fields.get(tag)
            if field and isinstance(data, dict) and data.get(tag) in get_args(field.annotation):
                return candidate
    return candidates[0] if candidates else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif origin in (Union, types.UnionType, Annotated, list, tuple, dict):
        for arg in get_args(annotation):
            yield from _models(arg)


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of the schema, each union member's included, but those within lists and named things."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for section in _models(field.annotation) if get_origin(field.annotation) not in (list, dict) else ():
            yield from _all_keys(section, f"{prefix}{name}.")
