"""An activation in facts, for `activations show`, `activations list` and the catalogue in the docs."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from actbench.activations import options, registry
from actbench.activations.base import Activation
from actbench.activations.cost import WIDTH, flops_per_element

REACH, POINTS = 4.0, 401  # of a graph: [-4, 4]
STAND_IN = 4096  # how many even standard normal numbers stand for the inputs of a function of whole rows


@dataclass(frozen=True)
class Coefficients:
    """One learnable parameter: its name in the code, its symbol in the formula, its shape and its starting values."""

    name: str
    symbol: str
    shape: tuple[int, ...]
    start: list[float]  # flat


@dataclass(frozen=True)
class Option:
    """One of the options a recipe can set: its default, as a recipe writes it, and what it may be, in words."""

    name: str
    default: str
    allowed: str


@dataclass(frozen=True)
class Description:
    """All there is to say about an activation, made with certain options at a width of 256 where that matters."""

    name: str
    about: str
    family: str
    formula: str
    source: str
    distribution: str | None
    gated: bool
    whole_row: bool
    flops_per_element: float
    weight_decay: float
    lr_multiplier: float
    coefficients: list[Coefficients]
    options: list[Option]

    @property
    def count(self) -> int:
        """How many numbers it learns."""
        return sum(len(parameter.start) for parameter in self.coefficients)

    @property
    def citation(self) -> str:
        """The source up to its first year, as in "Shazeer 2020"."""
        found = re.search(r"[^(]*?\b(?:19|20)\d\d\b", self.source)
        return found[0] if found else self.source


def describe(name: str, chosen: Mapping[str, Any] | None = None) -> Description:
    """The facts of the activation `name` made with the options `chosen`. Raises BadInput as `create` does."""
    module = made(name, chosen or {})
    cls = type(module)
    return Description(
        name=name,
        about=" ".join((cls.__doc__ or "").split("\n\n")[0].split()),
        family=re.split(r"[.:(]", sys.modules[cls.__module__].__doc__ or "")[0].strip(),
        formula=module.formula,
        source=module.source,
        distribution=registry.distribution(name),
        gated=module.gated,
        whole_row=module.whole_row,
        flops_per_element=round(flops_per_element(module, width_near(WIDTH, chosen or {})), 1),
        weight_decay=module.weight_decay,
        lr_multiplier=module.lr_multiplier,
        coefficients=[
            Coefficients(key, module.symbols.get(key, ""), tuple(p.shape), p.detach().flatten().tolist())
            for key, p in module.named_parameters()
        ],
        options=_options(cls),
    )


def made(name: str, chosen: Mapping[str, Any]) -> Activation:
    """The activation `name` with the options `chosen`, of a width of about 256. Raises BadInput as `create` does."""
    return registry.create(name, width=width_near(WIDTH, chosen), **chosen)


def width_near(width: int, chosen: Mapping[str, Any]) -> int:
    """The width, or the next that groups of channels divide, if the options name their number."""
    groups = registry.groups(chosen)
    return -(-width // groups) * groups


@torch.no_grad()
def graph(module: Activation) -> tuple[Tensor, Tensor]:
    """The function's graph on [-4, 4], x and y (401,); of a function of whole rows, for rows of normal numbers."""
    x = torch.linspace(-REACH, REACH, POINTS)
    return x, registry.curve(module, x, stand_in_inputs())


def stand_in_inputs() -> Tensor:
    """A row (1, STAND_IN) of an even standard normal, for `curve` where nobody knows what an activation received."""
    return torch.special.ndtri((torch.arange(STAND_IN) + 0.5) / STAND_IN)[None]


def _options(cls: type[Activation]) -> list[Option]:
    model = options.options_model(cls)
    with warnings.catch_warnings(action="ignore"):  # of a default that JSON does not know
        schemas = model.model_json_schema().get("properties", {})
    defaults = {
        key: "required" if field.is_required() else json.dumps(field.default, default=str)
        for key, field in model.model_fields.items()
    }
    return [Option(key, default, _allowed(schemas[key])) for key, default in defaults.items()]


def _allowed(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: "integer from 1 to 16", "rms or l2", "2 integers"."""
    if "anyOf" in schema:
        return " or ".join(_allowed(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = schema.get("type", "anything")
    kind = {"string": "text", "boolean": "true or false", "object": "mapping"}.get(kind, kind)
    if kind == "array":
        parts = schema.get("prefixItems", [schema.get("items", {})])
        words = " and ".join(dict.fromkeys(_allowed(part) for part in parts))
        return f"list of {len(parts)}: {words}" if "prefixItems" in schema else f"list: {words}"
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return " ".join([kind, *(f"{word} {schema[key]}" for key, word in limits.items() if key in schema)])
