"""Where activations are found: this package's own, those of installed plug-ins, and `path/to/file.py:name`."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actbench.activations import loading
from actbench.errors import BadInput, Problem, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from actbench.activations.base import Activation

C = TypeVar("C", bound="type[Activation]")

PACKAGE = "actbench.activations"

_registered: dict[str, type[Activation]] = {}


def register(name: str) -> Callable[[C], C]:
    """Class decorator that makes an `Activation` known as `name`. Raises ValueError when the name is taken."""

    def add(cls: C) -> C:
        taken = _registered.get(name)
        if taken is not None and inspect.getsourcefile(taken) != inspect.getsourcefile(cls):
            raise ValueError(f"an activation named '{name}' is already registered by {taken.__module__}")
        cls.name = name
        if not cls.__module__.startswith(loading.USER_MODULE):  # found by its file: a process may see two versions
            _registered[name] = cls
        return cls

    return add


def available() -> list[str]:
    """The names of all activations, sorted: built-in, registered, or offered by a plug-in, which is not loaded yet."""
    _load_built_in()
    return sorted({*_registered, *loading.plugins()})


def distribution(name: str) -> str | None:
    """The "name version" of the installed distribution that offers the activation; None for all others."""
    _load_built_in()
    return loading.offered_by(name) if name in loading.plugins() and not _built_in(name) else None


def clashes() -> dict[str, str]:
    """Names that a plug-in offers although a built-in activation has them, which wins: {name: distribution}."""
    _load_built_in()
    return {name: loading.offered_by(name) for name in loading.plugins() if _built_in(name)}


def get(name: str) -> type[Activation]:
    """The class known as `name`, or the one a user's file holds ("mine.py:MyAct" or "mine.py:my_name").

    Raises BadInput, naming the nearest known activation, when there is none, and when a plug-in does not load.
    """
    _load_built_in()
    file = source_file(name)
    if file is not None:
        return loading.from_file(file, name.rpartition(":")[2])
    if name in _registered:
        return _registered[name]
    if name in loading.plugins():
        return loading.from_plugin(name)
    raise BadInput(Problem(f"unknown activation '{name}'", hint=nearest(name, available())))


def create(name: str, *, width: int | None = None, **options: Any) -> Activation:
    """A new activation module, for inputs (..., width) where the width is known.

    Raises BadInput for an unknown name, an unknown option, a wrong value, or a width that does not suit the options.
    """
    from actbench.activations.options import check, construct

    options = one_set(name, options)
    problems = option_problems(name, options)
    if problems:
        raise BadInput([Problem(message, key=f"{name}.{key}", hint=hint) for key, message, hint in problems])
    cls = get(name)
    try:
        return construct(cls, check(cls, options)[0], width)
    except ValueError as error:
        raise BadInput(Problem(str(error), key=name)) from None


def expand(name: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `Activation.expand` makes of the options. Raises BadInput."""
    try:
        return get(name).expand(options)
    except ValueError as error:
        raise BadInput(Problem(str(error), key=name)) from None


def one_set(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, expanded. Raises BadInput when they are those of several slots."""
    first, *others = expand(name, options)
    if others:
        raise BadInput(Problem(f"these options are for {1 + len(others)} slots, one set each", key=name))
    return first


def canonical(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that say what the activation's defaults are. Raises BadInput as `get` does."""
    from actbench.activations.options import without_defaults

    return without_defaults(get(name), options)


def has_coefficients(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the activation has anything to learn. Raises BadInput as `create` does."""
    return next(create(name, width=4 * groups(options), **options).parameters(), None) is not None


def option_problems(name: str, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is wrong with an activation's name and options, as (key, message, hint); empty when all is well."""
    from actbench.activations.options import check

    try:
        cls = get(name)
    except BadInput as error:
        return [("name", problem.message, problem.hint) for problem in error.problems]
    try:
        checked, problems = check(cls, options)
        if not problems:
            _try(cls, checked)
    except ValueError as error:
        return [("name", str(error), "")]
    except (Exception, SystemExit) as error:  # a user's own code may raise anything
        return [("name", f"{cls.__name__} does not work: {type(error).__name__}: {error}", "")]
    return problems


def groups(options: Mapping[str, Any]) -> int:
    """A number that the width must be a multiple of, so that the channels fall into the groups that `sharing` names."""
    shared = (options.get("sharing"), (options.get("inner_options") or {}).get("sharing"))
    return math.lcm(*(number for number in shared if isinstance(number, int) and number > 0))


def curve(module: Activation, x: Tensor, inputs: Tensor) -> Tensor:
    """`module.curve`, which a user may have written. Raises BadInput when it does not work."""
    try:
        return module.curve(x, inputs)
    except Exception as error:
        hint = "curve(self, x, inputs) must turn any (N,) into (N,)"
        raise BadInput(Problem(f"{type(module).__name__} cannot be drawn: {error}", hint=hint)) from None


def source_file(name: str) -> Path | None:
    """The user's file behind "mine.py:MyAct", or None for an activation that is known by its name."""
    file, colon, _ = name.rpartition(":")
    return Path(file) if colon and file.endswith(".py") else None


def code_hash(name: str) -> str | None:
    """The sha256 of the file that holds a user's or a plug-in's class; None for a built-in one, or one of no file.

    Raises BadInput as `get` does.
    """
    cls = get(name)
    if _ships(cls):
        return None
    try:
        file = source_file(name) or Path(inspect.getfile(cls))  # a user's: the class may stem from an older place of it
    except (OSError, TypeError):  # typed into an interactive session
        return None
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _try(cls: type[Activation], options: Mapping[str, Any]) -> None:
    """Builds the activation and runs it once, on a few numbers. Raises whatever is wrong with it."""
    import torch

    from actbench.activations.options import construct

    width = 4 * groups(options)
    x = torch.linspace(-1, 1, 2 * width).view(2, width)
    y = construct(cls, options, width).eval()(*((x, x) if cls.gated else (x,)))
    if y.shape != x.shape:
        raise ValueError(f"{cls.__name__} turns shape {tuple(x.shape)} into {tuple(y.shape)}; it must keep it")


@functools.cache
def _load_built_in() -> None:
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{PACKAGE}.{module.name}")


def _built_in(name: str) -> bool:
    return name in _registered and _ships(_registered[name])


def _ships(cls: type[Activation]) -> bool:
    return cls.__module__.startswith(f"{PACKAGE}.")
