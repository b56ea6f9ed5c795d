"""Which runs may be compared: a cohort's runs differ in the activation and in seeds, and in nothing else.

The recipes' content decides, their names do not. What belongs to the activation's treatment may differ too: its
options, what single layers and the pooler hold, and how coefficients learn. The variant's label names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actbench.analysis.labels import labels
from actbench.config import FinetuneSettings, SquadSettings
from actbench.config.placement import short_name
from actbench.errors import nearest
from actbench.store import Run, identity_hash

Place = tuple[str, str | None, str | None]  # a cohort's name, task and text

OWN_SETTINGS = ("activation_lr", "keep_weights")  # of fine-tuning, that a cohort's runs need not share
ALL = "all"

SeedKey = tuple[int, int]  # (pre-training seed, fine-tuning seed); a pre-training run has 0 for the second


@dataclass(frozen=True)
class Variant:
    """A cohort's runs with one activation, one a seed. `repeats` are runs that a newer one stands for."""

    label: str
    runs: Mapping[SeedKey, Run]
    repeats: tuple[Run, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the runs, in the order of their seeds."""
        return tuple(run.id for run in self.runs.values())

    @property
    def first(self) -> Run:
        """The run of the lowest seed."""
        return next(iter(self.runs.values()))


@dataclass(frozen=True)
class Cohort:
    """Runs that may be compared. `name` is the recipes', with what tells setups apart where two share it."""

    name: str
    task: str | None  # of fine-tuning, and of a transfer
    variants: tuple[Variant, ...]
    text: str | None = None  # that trained models were evaluated on

    @property
    def is_pretraining(self) -> bool:
        """Whether its runs are the models' own training."""
        return self.task is None and self.text is None

    @property
    def is_transfer(self) -> bool:
        """Whether its runs test fine-tuned ones on another task's data; `task` then names both."""
        return self.task is not None and self.variants[0].first.kind == "evaluate"

    def called(self, name: str) -> Variant | None:
        """The variant labelled `name`, or else the only one whose activation is called so."""
        exact = [variant for variant in self.variants if variant.label == name]
        candidates = exact or [variant for variant in self.variants if _is_called(variant.first, name)]
        return candidates[0] if len(candidates) == 1 else None

    def why_none_called(self, name: str) -> str:
        """What to tell a reader when `called` finds none."""
        labels = [variant.label for variant in self.variants]
        if any(_is_called(variant.first, name) for variant in self.variants):
            return f"several variants of {name}: choose one of {', '.join(labels)}"
        return f"no finished run with {name} here to compare with ({nearest(name, labels)})"


def cohorts(runs: Iterable[Run]) -> list[Cohort]:
    """Sorts runs of any kinds into cohorts: by model, then task and text; variants by label."""
    setups: dict[str, list[Run]] = {}
    for run in runs:
        setups.setdefault(identity_hash(setup(run)), []).append(run)
    places = [(_name(group), _task(group[0]), _text(group[0])) for group in setups.values()]
    names = _told_apart(list(setups), [group[0] for group in setups.values()], places)
    made = [
        Cohort(name, task, _variants(group), text)
        for name, group, (_, task, text) in zip(names, setups.values(), places, strict=True)
    ]
    return sorted(made, key=lambda cohort: (cohort.name, cohort.task or "", cohort.text or ""))


def seed_key(run: Run) -> SeedKey:
    """What two runs must share to be a pair."""
    return run.seed, int(run.info.get("finetune_seed", 0))


def split_finished(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """The finished runs, and the others."""
    return [r for r in runs if r.status == "finished"], [r for r in runs if r.status != "finished"]


def _variants(runs: list[Run]) -> tuple[Variant, ...]:
    by_kind: dict[tuple[str, str], dict[SeedKey, list[Run]]] = {}
    runs = sorted(runs, key=lambda run: (run.info["created"], run.id))
    for run, name in zip(runs, labels(runs), strict=True):
        by_kind.setdefault((name, _own_source(run)), {}).setdefault(seed_key(run), []).append(run)
    names = [name for name, _ in by_kind]
    return tuple(
        _variant(name if names.count(name) == 1 else f"{name} #{source[:4]}", by_kind[name, source])
        for name, source in sorted(by_kind)
    )


def _variant(name: str, by_seed: dict[SeedKey, list[Run]]) -> Variant:
    newest = {key: by_seed[key][-1] for key in sorted(by_seed)}
    repeats = tuple(run for key in sorted(by_seed) for run in by_seed[key][:-1])
    return Variant(name, newest, repeats)


def _own_source(run: Run) -> str:
    """Tells an activation that does not ship with actbench from what its code was at another time; else empty."""
    code = run.info.get("code")
    return identity_hash(code) if code else ""


def _is_called(run: Run, name: str) -> bool:
    return short_name(run.activation) == short_name(name)


def setup(run: Run) -> dict[str, Any]:
    """All that the runs of a cohort share. Hardware counts as it was found: asked for, it may be `auto`."""
    recipe = dict(run.info["recipe"])
    for key in ("name", "seed", "hardware", "logging", "checkpoint"):
        recipe.pop(key, None)
    model, optimizer = dict(recipe["model"]), dict(recipe.get("optimizer", {}))
    for section in (model, optimizer):
        section.pop("activation", None)
        section.pop("activation_overrides", None)
    return {
        "kind": run.kind,
        "recipe": {**recipe, "model": model, "optimizer": optimizer},
        "data": data_hash(run),
        "hardware": {key: run.info["hardware"].get(key) for key in ("device", "precision")},
        "task": _task(run),
        "finetune": {key: value for key, value in finetune_settings(run).items() if key not in OWN_SETTINGS},
    }


def finetune_settings(run: Run) -> dict[str, Any]:
    """How a run, or the run that it tests, was fine-tuned, but for what decides no result.

    What its record lacks was at its default then.
    """
    if "finetune" not in run.info:
        return {}
    section = SquadSettings if run.info.get("task", {}).get("kind") == "spans" else FinetuneSettings
    said = {**section().model_dump(mode="json"), **run.info["finetune"]}
    return {key: value for key, value in said.items() if key != "keep_weights"}


def data_hash(run: Run) -> str | None:
    """The fingerprint of the data a run saw, if it recorded one."""
    value = run.info["data"].get("hash")
    return None if value is None else str(value)


def _told_apart(setups: Sequence[str], firsts: Sequence[Run], places: Sequence[Place]) -> list[str]:
    """A name for each setup. Where several would share one, their fine-tuning tells them apart, or else a hash."""
    named = []
    for first, place in zip(firsts, places, strict=True):
        sharing = [other for other, where in zip(firsts, places, strict=True) if where == place]
        named.append((place[0] + _differing_settings(first, sharing), *place[1:]))
    return [
        place[0] if named.count(place) == 1 else f"{place[0]} #{setup[:4]}"
        for setup, place in zip(setups, named, strict=True)
    ]


def _differing_settings(run: Run, sharing: Sequence[Run]) -> str:
    """ " (protocol official, train_size 100)", where those sharing a name differ in that."""
    each = [finetune_settings(other) for other in sharing]
    own = finetune_settings(run)
    differing = [key for key in own if key not in OWN_SETTINGS and len({repr(one.get(key)) for one in each}) > 1]
    said = [f"{key} {ALL if key == 'train_size' and own[key] is None else own[key]}" for key in differing]
    return f" ({', '.join(said)})" if said else ""


def _name(runs: list[Run]) -> str:
    return " / ".join(sorted({str(run.info["recipe"]["name"]) for run in runs}))


def _task(run: Run) -> str | None:
    name = run.info.get("task", {}).get("name")
    return None if name is None else str(name)


def _text(run: Run) -> str | None:
    return str(run.info["data"]["text"]) if run.kind == "evaluate" and "task" not in run.info else None
