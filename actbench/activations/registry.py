"""Where activations are found: those of this package, and `path/to/file.py:name` for a user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from actbench.errors import BadInput, Problem, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from actbench.activations.base import Activation

C = TypeVar("C", bound="type[Activation]")

USER_MODULE = "actbench_user_activation_"
WIDTH = "width"  # a constructor argument of this name is no option: the model tells it

_registered: dict[str, type[Activation]] = {}


def register(name: str) -> Callable[[C], C]:
    """Class decorator that makes an `Activation` known as `name`. Raises ValueError when the name is taken."""

    def add(cls: C) -> C:
        taken = _registered.get(name)
        if taken is not None and inspect.getsourcefile(taken) != inspect.getsourcefile(cls):
            raise ValueError(f"an activation named '{name}' is already registered by {taken.__module__}")
        cls.name = name
        if not cls.__module__.startswith(USER_MODULE):  # found by its file, of which a process may see two versions
            _registered[name] = cls
        return cls

    return add


def available() -> list[str]:
    """The names of all registered activations, sorted."""
    _load_built_in()
    return sorted(_registered)


def get(name: str) -> type[Activation]:
    """The class registered as `name`, or the one a user's file holds ("mine.py:MyAct" or "mine.py:my_name").

    Raises BadInput, naming the nearest known activation, when there is none.
    """
    _load_built_in()
    file, colon, attribute = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), attribute)
    if name in _registered:
        return _registered[name]
    raise BadInput(Problem(f"unknown activation '{name}'", hint=nearest(name, list(_registered))))


def create(name: str, *, width: int | None = None, **options: Any) -> Activation:
    """A new activation module, for inputs (..., width) where the width is known.

    Raises BadInput for an unknown name, an unknown option, a wrong value, or a width that does not suit the options.
    """
    problems = option_problems(name, options)
    if problems:
        raise BadInput([Problem(message, key=f"{name}.{key}", hint=hint) for key, message, hint in problems])
    cls = get(name)
    checked = _options_model(cls).model_validate(options)
    try:
        return _construct(cls, {key: getattr(checked, key) for key in options}, width)
    except ValueError as error:
        raise BadInput(Problem(str(error), key=name)) from None


def expand(name: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `Activation.expand` makes of the options. Raises BadInput."""
    try:
        return get(name).expand(options)
    except ValueError as error:
        raise BadInput(Problem(str(error), key=name)) from None


def option_problems(name: str, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is wrong with an activation's name and options, as (key, message, hint); empty when all is well."""
    from pydantic import ValidationError

    try:
        cls = get(name)
    except BadInput as error:
        return [("name", problem.message, problem.hint) for problem in error.problems]
    model = _options_model(cls)
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        return [_option_problem(item, model) for item in error.errors()]
    try:
        _try(cls, {key: getattr(checked, key) for key in options})
    except ValueError as error:
        return [("name", str(error), "")]
    except Exception as error:  # a user's own code may raise anything
        return [("name", f"{cls.__name__} does not work: {type(error).__name__}: {error}", "")]
    return []


def source_file(name: str) -> Path | None:
    """The user's file behind "mine.py:MyAct", or None for an activation that ships with actbench."""
    file, colon, _ = name.rpartition(":")
    return Path(file) if colon and file.endswith(".py") else None


def _try(cls: type[Activation], options: Mapping[str, Any]) -> None:
    """Builds the activation and runs it once, on a few numbers. Raises whatever is wrong with it."""
    import torch

    groups = options.get("sharing")
    width = 4 * groups if isinstance(groups, int) else 4
    x = torch.linspace(-1, 1, 2 * width).view(2, width)
    y = _construct(cls, options, width)(*((x, x) if cls.gated else (x,)))
    if y.shape != x.shape:
        raise ValueError(f"{cls.__name__} turns shape {tuple(x.shape)} into {tuple(y.shape)}; it must keep it")


def _construct(cls: type[Activation], options: Mapping[str, Any], width: int | None) -> Activation:
    told = {"width": width} if WIDTH in inspect.signature(cls.__init__).parameters else {}
    return cls(**options, **told)


def _load_built_in() -> None:
    package = importlib.import_module("actbench.activations")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"actbench.activations.{module.name}")


def _from_file(path: Path, attribute: str) -> type[Activation]:
    from actbench.activations.base import Activation

    if not path.is_file():
        raise BadInput(Problem(f"no such file: {path}", hint="an own activation is named path/to/file.py:Class"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    module_name = f"{USER_MODULE}{digest}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise BadInput(Problem(f"{type(error).__name__}: {error}", where=str(path))) from error
    found = {
        key: value
        for cls_name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Activation) and value.__module__ == module_name
        for key in (cls_name, value.name)
    }
    if attribute not in found:
        raise BadInput(
            Problem(f"{path} has no activation '{attribute}'", hint=nearest(attribute, [k for k in found if k]))
        )
    return found[attribute]


def _options_model(cls: type[Activation]) -> type[BaseModel]:
    """The constructor's keyword arguments as a pydantic model: one mechanism checks recipes and plug-ins alike."""
    from pydantic import ConfigDict, create_model

    hints = get_type_hints(cls.__init__, include_extras=True)
    fields: dict[str, Any] = {
        key: (hints.get(key, Any), ... if parameter.default is parameter.empty else parameter.default)
        for key, parameter in inspect.signature(cls.__init__).parameters.items()
        if key not in ("self", WIDTH) and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    return create_model(f"{cls.__name__}Options", __config__=ConfigDict(extra="forbid"), **fields)


def _option_problem(item: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    key = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        return key, "unknown option", nearest(key, list(model.model_fields)) or "this activation has no options"
    if item["type"] == "missing":
        return key, "missing", "this option is required"
    return key, f"{item['msg'][0].lower()}{item['msg'][1:]}, not {item['input']!r}", ""
