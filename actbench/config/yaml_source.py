"""YAML 1.2 as recipes use it: a safe loader that knows the line of every key.

pyyaml reads YAML 1.1, in which `6e-4` is a string, `on` a boolean and a second `lr:` silently wins. Here floats and
booleans follow YAML 1.2's core schema and a duplicate key is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from actbench.errors import BadInput, Problem

MAX_NODES = 100_000  # no recipe comes near; a file of nested aliases would
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's implicit types."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9][0-9_]*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^([-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+0123456789."),
)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node).lower().replace("_", "")
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


@dataclass
class Source:
    """A parsed YAML text: plain data, and the place ("file:line") of each dotted key in it."""

    data: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """Where `key` stands, or, when it is not in the text, where the nearest mapping around it stands."""
        while key and key not in self.places:
            key = key.rpartition(".")[0]
        return self.places.get(key, "")


def parse(text: str, name: str) -> Source:
    """Reads one YAML mapping. `name` is how problems call the text. Raises BadInput listing every duplicate key."""
    try:
        return _parse(text, name)
    except RecursionError:
        raise BadInput(Problem("nested too deeply", where=name)) from None


def _parse(text: str, name: str) -> Source:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadInput(
            Problem(error.problem or "not YAML", where=f"{name}:{mark.line + 1}" if mark else name)
        ) from None
    except yaml.YAMLError as error:
        raise BadInput(Problem(f"not YAML: {error}", where=name)) from None
    if node is None:
        raise BadInput(Problem("the file is empty", where=name))
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(Problem("expected keys and values, as in 'seed: 0'", where=f"{name}:1"))
    reader = _Reader(loader, name)
    data = reader.convert(node, "")
    if reader.problems:
        raise BadInput(reader.problems)
    return Source(data, reader.places)


def read(path: Path) -> Source:
    """Reads a YAML file. Raises BadInput when it is missing, unreadable or malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(Problem("no such file", where=str(path), hint=_sibling_hint(path))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Problem(f"cannot be read: {error}", where=str(path))) from None
    return parse(text, str(path))


def parse_value(text: str) -> Any:
    """The value of a `--set key=value`: a YAML scalar, list or mapping on one line."""
    return parse(f"value: {text}", "--set").data["value"]


def _sibling_hint(path: Path) -> str:
    from actbench.errors import nearest

    folder = path.parent
    names = [str(folder / p.name) for p in sorted(folder.glob("*.y*ml"))] if folder.is_dir() else []
    return nearest(str(path), names) if names else ""


class _Reader:
    """Turns composed nodes into data, noting each key's line."""

    def __init__(self, loader: yaml.SafeLoader, name: str):
        self.loader, self.name = loader, name
        self.places: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.nodes = 0

    def convert(self, node: yaml.Node, path: str) -> Any:
        """The node's data; `path` is its dotted key. Problems are collected, not raised."""
        self.nodes += 1
        if self.nodes > MAX_NODES or path.count(".") > MAX_DEPTH:
            raise BadInput(Problem("too many nested aliases", where=self.name))
        self.places.setdefault(path, self._place(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(child, f"{path}.{i}".lstrip(".")) for i, child in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError, AttributeError) as error:  # of a tag's constructor
            kind = node.tag.rpartition(":")[2]
            what = getattr(error, "problem", None) or f"'{node.value[:40]}' is no {kind}"
            self.problems.append(Problem(what, where=self._place(node), key=path))
            return None

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            dotted = f"{path}.{key}".lstrip(".")
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem("a key must be a word", where=self._place(key_node), key=path))
            elif key in data:
                first = self.places[dotted].rpartition(":")[2]
                self.problems.append(
                    Problem(f"duplicate key, first given on line {first}", where=self._place(key_node), key=dotted)
                )
            else:
                self.places[dotted] = self._place(key_node)
                data[key] = self.convert(value_node, dotted)
        return data

    def _place(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"
