"""Options as a recipe gives them, checked against the constructor's signature: one mechanism for all activations."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from actbench.errors import nearest

if TYPE_CHECKING:
    from actbench.activations.base import Activation

WIDTH = "width"  # a constructor argument of this name is no option: the model tells it
Flaw = tuple[str, str, str]  # key, message, hint


def check(cls: type[Activation], options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Flaw]]:
    """The options in the types that the constructor names, and what is wrong with them.

    As strict as recipes are: "3" is no integer and `true` no number; but 3 is a float and a list a tuple.
    """
    model = options_model(cls)
    try:
        checked = model.model_validate_json(json.dumps(dict(options)))
    except ValidationError as error:
        return {}, _flaws(error, model)
    except (TypeError, ValueError) as error:
        return {}, [("name", f"options are text, numbers, true, false, lists and mappings: {error}", "")]
    return {key: getattr(checked, key) for key in options}, []


def options_model(cls: type[Activation]) -> type[BaseModel]:
    """The constructor's arguments, without `width`, as a model whose field defaults are the constructor's."""
    hints = get_type_hints(cls.__init__, include_extras=True)
    fields: dict[str, Any] = {
        key: (hints.get(key, Any), ... if parameter.default is parameter.empty else parameter.default)
        for key, parameter in inspect.signature(cls.__init__).parameters.items()
        if key not in ("self", WIDTH) and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    return create_model(f"{cls.__name__}Options", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def without_defaults(cls: type[Activation], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, typed, that say something else than the constructor's defaults; as given where some are wrong."""
    checked, problems = check(cls, options)
    fields = options_model(cls).model_fields
    return dict(options) if problems else {k: value for k, value in checked.items() if value != fields[k].default}


def construct(cls: Callable[..., Activation], options: Mapping[str, Any], width: int | None) -> Activation:
    """The activation, told its width if its constructor asks for one."""
    asks = WIDTH in inspect.signature(cls).parameters
    return cls(**options, **({"width": width} if asks else {}))


def _flaws(error: ValidationError, model: type[BaseModel]) -> list[Flaw]:
    """One for each key: several messages are those of a type with alternatives."""
    by_key: dict[str, list[Any]] = {}
    for item in error.errors():
        by_key.setdefault(str(item["loc"][0]), []).append(item)
    return [_flaw(key, items, model) for key, items in by_key.items()]


def _flaw(key: str, items: list[Any], model: type[BaseModel]) -> Flaw:
    first = items[0]
    if first["type"] == "extra_forbidden":
        return key, "unknown option", nearest(key, list(model.model_fields)) or "this activation has no options"
    if first["type"] == "missing":
        return key, "missing", "this option is required"
    said = dict.fromkeys(item["msg"].replace("valid array", "list") for item in items)
    text = ", or ".join(message.removeprefix("Input should be ") for message in said)
    prefix = "input should be " if first["msg"].startswith("Input should be ") else ""
    return key, f"{prefix}{text}, not {first['input']!r}", ""
