"""Whether a recipe's activations exist, take their options, and go where a slot is; and what their options refer to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from actbench.activations import expand, get, option_problems
from actbench.config.activation import ActivationOverride, ActivationSpec, Selector
from actbench.config.placement import POOLER, chosen, slot_names
from actbench.config.schema import BertSection, GptSection
from actbench.config.section import MOST_LAYERS
from actbench.config.yaml_source import Source
from actbench.errors import BadInput, Problem

NOT_OPTIONS = ("name", *Selector.model_fields)
Flaw = tuple[str, str, str]  # key, message, hint


def activation_problems(source: Source) -> Iterator[Problem]:
    """What the schema cannot see. Looks at the raw data, so that all of a recipe's problems are told at once."""
    slots = _slots(source.data.get("model"))
    yield from _told(source, "model.activation", _spec_flaws(_at(source, "model", "activation"), ("name",)))
    for section in ("model", "optimizer"):
        overrides = _at(source, section, "activation_overrides")
        for i, override in enumerate(overrides if isinstance(overrides, list) else []):
            flaws, names = _selection(override, slots)
            if section == "model":
                flaws += _spec_flaws(override, NOT_OPTIONS) or _pooler_flaws(override, names)
            yield from _told(source, f"{section}.activation_overrides.{i}", flaws)


def expanded(model: BertSection | GptSection, source: Source) -> BertSection | GptSection:
    """The model with the contents of the files that its activations' options name. Raises BadInput."""
    slots = slot_names(model.family, model.n_layers)
    first, *others = _entries(model.activation, slots, source.place("model.activation"), "model.activation")
    activation = ActivationSpec(name=model.activation.name, **first)
    overrides = []
    if others:
        entries = dict(zip(slots, [first, *others], strict=False))
        overrides = [ActivationOverride(slot=s, name=activation.name, **entry) for s, entry in entries.items()]
    for i, override in enumerate(model.activation_overrides):
        key = f"model.activation_overrides.{i}"
        overrides += _expanded_override(override, slots, source.place(key), key)
    return model.model_copy(update={"activation": activation, "activation_overrides": tuple(overrides)})


def _expanded_override(
    override: ActivationOverride, slots: list[str], where: str, key: str
) -> list[ActivationOverride]:
    """The override with numbers in it; several, one a slot, where what it refers to tells the slots apart."""
    entries = _entries(override.spec, slots, where, key)
    if len(entries) == 1:
        selector = override.model_dump(include={"layers", "slot"})
        return [ActivationOverride(**selector, name=override.name, **entries[0])]
    by_slot = dict(zip(slots, entries, strict=False))
    names = chosen(override, slots)
    if not set(names) <= set(by_slot):
        raise BadInput(Problem(f"{len(entries)} sets of options, none of them for the pooler", where=where, key=key))
    return [ActivationOverride(slot=name, name=override.name, **by_slot[name]) for name in names]


def _entries(spec: ActivationSpec, slots: list[str], where: str, key: str) -> list[dict[str, Any]]:
    """What the options expand to: one set for all slots, or one a slot, in the model's order."""
    entries = expand(spec.name, spec.options)
    n_layers = len([slot for slot in slots if slot != POOLER])
    if len(entries) in {1, n_layers, len(slots)}:
        return entries
    right = f"one for all, or one for each of the {n_layers} layers" + (" and the pooler" if POOLER in slots else "")
    raise BadInput(Problem(f"{len(entries)} sets of options", where=where, key=key, hint=right))


def _slots(model: Any) -> list[str]:
    """The slots of a model that may have problems of its own; none when it is not known how many."""
    family, n_layers = (model.get("family"), model.get("n_layers")) if isinstance(model, dict) else (None, None)
    if not isinstance(family, str) or not isinstance(n_layers, int) or not 0 < n_layers <= MOST_LAYERS:
        return []
    return slot_names(family, n_layers)


def _selection(override: Any, slots: list[str]) -> tuple[list[Flaw], list[str]]:
    """What is wrong with an override's selector beside its form, and the slots that it selects."""
    given = (
        {key: override[key] for key in Selector.model_fields if key in override} if isinstance(override, dict) else {}
    )
    try:
        return [], chosen(Selector.model_validate(given), slots) if slots else []
    except ValidationError:
        return [], []  # the schema tells
    except BadInput as error:
        return [(problem.key, problem.message, problem.hint) for problem in error.problems], []


def _spec_flaws(spec: Any, not_options: tuple[str, ...]) -> list[Flaw]:
    """An activation that does not exist, or does not take the options given."""
    if not (isinstance(spec, dict) and isinstance(spec.get("name"), str)):
        return []  # the schema tells
    name, options = spec["name"], {key: value for key, value in spec.items() if key not in not_options}
    flaws = option_problems(name, options)
    if any(key != "name" for key, _, _ in flaws):
        return flaws
    try:
        entries = expand(name, options)
    except BadInput as error:
        return [("name", problem.message, problem.hint) for problem in error.problems]
    return next(filter(None, (option_problems(name, entry) for entry in entries)), [])


def _pooler_flaws(override: Any, names: list[str]) -> list[Flaw]:
    if POOLER in names and isinstance(override.get("name"), str) and get(override["name"]).gated:
        return [("name", f"'{override['name']}' is gated, the pooler has no gate", "")]
    return []


def _told(source: Source, prefix: str, flaws: list[Flaw]) -> Iterator[Problem]:
    for key, message, hint in flaws:
        dotted = f"{prefix}.{key}"
        yield Problem(message, where=source.place(dotted), key=dotted, hint=hint)


def _at(source: Source, section: str, key: str) -> Any:
    found = source.data.get(section)
    return found.get(key) if isinstance(found, dict) else None
