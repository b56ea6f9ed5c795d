"""From files and `--set` overrides to one frozen, checked object, or one error that lists every problem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from actbench.config import yaml_source
from actbench.config.activation_checks import activation_problems, expanded
from actbench.config.explain import explain
from actbench.config.schema import BertSection, GptSection, Model, Recipe, Section
from actbench.config.yaml_source import Source
from actbench.errors import BadInput, Problem

S = TypeVar("S", bound=Section)
T = TypeVar("T")

# A mapping whose tag changes describes another kind of thing: what the base said about the old kind is dropped.
TAGS = ("name", "source", "family")


def load(path: Path, model: type[S], overrides: Sequence[str] = ()) -> S:
    """Reads `path` with its `extends` chain, applies `overrides` ("a.b=c"), validates against `model`.

    Raises BadInput listing every problem, each with file, line, dotted key and the nearest right key.
    """
    return validate(apply_overrides(read_chain(path), overrides), model)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and checks its activations' options as well. Raises BadInput listing every problem."""
    return recipe_from(apply_overrides(read_chain(path), overrides))


def recipe_from(source: Source) -> Recipe:
    """Validates a merged source as a recipe, its activations included, and puts in what their options refer to."""
    problems = list(activation_problems(source))
    try:
        recipe = validate(source, Recipe)
    except BadInput as error:
        raise BadInput([*error.problems, *problems]) from None
    if problems:
        raise BadInput(problems)
    return recipe.model_copy(update={"model": expanded(recipe.model, source)})


def read_recorded(data: Any, where: str) -> Recipe:
    """The recipe of a run's record, its name whatever it is.

    Raises BadInput for that of a version of actbench that wrote recipes otherwise.
    """
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str):
        return _recorded(TypeAdapter(Recipe), data, where)
    return _recorded(TypeAdapter(Recipe), {**data, "name": "recorded"}, where).model_copy(update={"name": name})


def read_recorded_model(data: Any, where: str) -> BertSection | GptSection:
    """The same for its model section alone."""
    return _recorded(TypeAdapter(Model), data, where)


def read_recorded_settings(data: Any, section: type[S], where: str) -> S:
    """The settings of a fine-tuned run's record, as `section`. Raises BadInput as `read_recorded` does."""
    return _recorded(TypeAdapter(section), data, where)


def _recorded(kind: TypeAdapter[T], data: Any, where: str) -> T:
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = f"this was recorded by another version of actbench ({key}: {first['msg']})"
        raise BadInput(Problem(message, where=where)) from None


def read_chain(path: Path, seen: tuple[Path, ...] = ()) -> Source:
    """The file merged over the files it extends (paths relative to the file that names them)."""
    path = Path(path)
    seen = (*seen, path.resolve())
    source = yaml_source.read(path)
    parent = source.data.pop("extends", None)
    if parent is None:
        return source
    if not isinstance(parent, str) or not parent:
        raise BadInput(Problem("expected a file name", where=source.place("extends"), key="extends"))
    if (path.parent / parent).resolve() in seen:
        raise BadInput(Problem(f"leads back to {parent}", where=source.place("extends"), key="extends"))
    try:
        base = read_chain(path.parent / parent, seen)
    except BadInput as error:
        if not (path.parent / parent).exists():
            missing = error.problems[0]
            raise BadInput(
                Problem(f"no such file: {path.parent / parent}", source.place("extends"), "extends", missing.hint)
            ) from None
        raise
    return merge(base, source)


def apply_overrides(source: Source, overrides: Sequence[str]) -> Source:
    """Merges "a.b=c" overrides, in order, over `source`; their place is the text as the user typed it."""
    problems = []
    changes = Source({})  # merged first: an option may stand before the name it belongs to
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            problems.append(Problem("expected key=value", where=f"--set {override}", hint="for example --set seed=1"))
            continue
        try:
            value = yaml_source.parse_value(text)
        except BadInput as error:
            problems.append(Problem(error.problems[0].message, where=f"--set {override}", key=key))
            continue
        changes = merge(changes, override_source(key, value, f"--set {override}"))
    if problems:
        raise BadInput(problems)
    return merge(source, changes)


def override_source(key: str, value: Any, place: str) -> Source:
    """One dotted key and its value as a source of its own, for merging."""
    parts = key.split(".")
    places = {".".join(parts[: i + 1]): place for i in range(len(parts))}
    for part in reversed(parts):
        value = {part: value}
    return Source(value, places)


def merge(base: Source, over: Source) -> Source:
    """`over` on top of `base`: mappings merge, all else is replaced."""
    places = dict(base.places)
    data = _merge(base.data, over.data, "", places)
    return Source(data, {**places, **over.places})


def _merge(base: dict[str, Any], over: dict[str, Any], path: str, places: dict[str, str]) -> dict[str, Any]:
    tag = next((t for t in TAGS if t in over and path), None)
    if tag and tag in base and base[tag] != over[tag]:
        for key in [k for k in places if k.startswith(f"{path}.")]:
            del places[key]
        return over
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, value, f"{path}.{key}".lstrip("."), places)
        else:
            for inner in [k for k in places if k.startswith(f"{path}.{key}.".lstrip("."))]:
                del places[inner]
            merged[key] = value
    return merged


def validate(source: Source, model: type[S]) -> S:
    """The source as a `model`. Raises BadInput listing every problem."""
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        raise BadInput(explain(error, source, model)) from None


def dump(section: Section) -> str:
    """The section as YAML, every default written out."""
    import yaml

    return yaml.safe_dump(section.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
