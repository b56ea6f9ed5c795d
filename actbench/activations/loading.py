"""Activations from elsewhere: a class in a user's own file, or one that an installed distribution offers."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from actbench.errors import BadInput, Problem, nearest

if TYPE_CHECKING:
    from actbench.activations.base import Activation

USER_MODULE = "actbench_user_activation_"
GROUP = "actbench.activations"  # of entry points: name = "module:Class"


def from_file(path: Path, attribute: str) -> type[Activation]:
    """The class of a file by its own name or the one it is registered as. Raises BadInput."""
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
        except (Exception, SystemExit) as error:
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


@functools.cache
def plugins() -> dict[str, list[EntryPoint]]:
    """The entry points of installed distributions by the name of the activation; none is loaded."""
    offers: dict[str, list[EntryPoint]] = {}
    for distribution in distributions():
        try:
            points = distribution.entry_points.select(group=GROUP)
        except Exception:  # metadata that cannot be read is nothing to us
            continue
        for point in points:
            others = offers.setdefault(point.name, [])
            if distribution.name not in [other.dist.name for other in others if other.dist]:  # found on the path twice
                others.append(point)
    return offers


def offered_by(name: str) -> str:
    """The distributions that offer the activation: "name version", joined by "and"."""
    return " and ".join(f"{point.dist.name} {point.dist.version}" for point in plugins()[name] if point.dist)


def from_plugin(name: str) -> type[Activation]:
    """The class behind an entry point. Raises BadInput that names the distribution when it is not to be had."""
    from actbench.activations.base import Activation

    first, *more = plugins()[name]
    if more:
        raise BadInput(Problem(f"'{name}' is offered by {offered_by(name)}", hint="uninstall all but one"))
    broken = f"activation '{name}' of {offered_by(name)} does not load"
    try:
        cls = first.load()
    except (Exception, SystemExit) as error:  # whatever its author's code raises
        raise BadInput(Problem(f"{broken}: {type(error).__name__}: {error}")) from error
    if not (isinstance(cls, type) and issubclass(cls, Activation)):
        raise BadInput(Problem(f"{broken}: {first.value} is no subclass of actbench.activations.Activation"))
    cls.name = cls.__dict__.get("name") or name
    return cls
