"""What a reader calls a run: its activation, and what of the treatment is not the default."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from actbench.analysis.grids import coefficients_learn
from actbench.config.activation import ActivationOptimizer, ActivationSpec, Selector
from actbench.config.finetuning import OF_COEFFICIENTS
from actbench.config.placement import POOLER, POOLER_DEFAULT, placement, short_name, spelled
from actbench.config.resolve import read_recorded_model
from actbench.config.schema import BertSection, GptSection
from actbench.config.tuning import FULL
from actbench.store import Run, identity_hash

LONG = 16  # characters of JSON above which an option is told by a hash, as coefficients are


def label(run: Run, chosen: Collection[str] = ()) -> str:
    """The activation as a reader should see it: its name, and what of its treatment is not the default.

    Fine-tuning settings that were `chosen` from a grid are not named.
    """
    return _label(run, [*_treatment(run), *_learning(run, chosen)])


def labels(runs: Sequence[Run], chosen: Collection[str] = ()) -> list[str]:
    """A label for each run, as short as tells them apart: how coefficients learn is named only where it differs."""
    full = [label(run, chosen) for run in runs]
    short = [_label(run, _treatment(run)) for run in runs]
    meanings: dict[str, set[str]] = {}
    for name, whole in zip(short, full, strict=True):
        meanings.setdefault(name, set()).add(whole)
    return [name if len(meanings[name]) == 1 else whole for name, whole in zip(short, full, strict=True)]


def treatment(model: BertSection | GptSection) -> list[str]:
    """The activation's options, what other layers hold, a pooler that is not BERT's own, and long options' hash."""
    placed = placement(model)
    alike: dict[str, list[str]] = {}
    for slot, spec in placed.items():
        if slot != POOLER:
            alike.setdefault(_words(spec), []).append(slot)
    others = [f"{spelled(slots)} {words}" for words, slots in alike.items() if words != _words(model.activation)]
    if placed.get(POOLER, POOLER_DEFAULT) != POOLER_DEFAULT:
        others.append(f"{POOLER} {_words(placed[POOLER])}")
    if isinstance(model, GptSection) and model.moe and model.moe.activation_sharing == "expert":
        others.append("one an expert")
    long = {slot: found for slot, spec in placed.items() if (found := _options(spec, long=True))}
    numbers = [f"numbers #{identity_hash(long)[:4]}"] if long else []
    options = [f"{key}={value}" for key, value in _options(model.activation, long=False).items()]
    return [*options, *others, *numbers]


def _label(run: Run, extras: list[str]) -> str:
    name = short_name(run.activation)
    return f"{name} ({', '.join(extras)})" if extras else name


def _treatment(run: Run) -> list[str]:
    """What is not the default in the model's activations, and a mode of fine-tuning."""
    model = read_recorded_model(run.info["recipe"]["model"], str(run.folder / "run.json"))
    mode = run.info.get("finetune", {}).get("tune", FULL)
    return [*treatment(model), *([] if mode == FULL else [f"tune={mode}"])]


def _words(spec: ActivationSpec) -> str:
    """An activation in some slots, without its long options: "raf degrees=[3, 2]"."""
    return " ".join([short_name(spec.name), *(f"{key}={value}" for key, value in _options(spec, long=False).items())])


def _options(spec: ActivationSpec, *, long: bool) -> dict[str, Any]:
    return {key: value for key, value in sorted(spec.options.items()) if (len(json.dumps(value)) > LONG) == long}


def _learning(run: Run, chosen: Collection[str]) -> list[str]:
    """What is unusual in how a run's activation coefficients learn."""
    if run.info["model"].get("activation_parameters") == 0:
        return []  # there are none
    section = run.info["recipe"].get("optimizer", {})
    unusual = _unusual(section.get("activation", {}))
    for override in section.get("activation_overrides", []):
        selector = Selector(**{key: override[key] for key in Selector.model_fields if key in override})
        where = selector.slot or f"layers {selector.layers}"
        unusual += [f"{where} {words}" for words in _said(override)]
    if not coefficients_learn(run):
        return unusual
    given = {key: run.info.get("finetune", {}).get(key) for key in OF_COEFFICIENTS if key not in chosen}
    return [*unusual, *(f"{key}={value:g}" for key, value in given.items() if value is not None)]


def _unusual(given: Mapping[str, Any]) -> list[str]:
    default = ActivationOptimizer().model_dump()
    return [f"{key}={value}" for key, value in sorted(given.items()) if default.get(key) != value]


def _said(override: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(override.items()) if key not in Selector.model_fields]
