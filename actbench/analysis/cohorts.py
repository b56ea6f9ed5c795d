"""Which runs may be compared: a cohort's runs differ in the activation and in seeds, and in nothing else.

The recipes' content decides, their names do not. What belongs to the activation's treatment may differ too: its
options, what single layers and the pooler hold, whether experts share it, how coefficients learn, and what fine-tuning
moves. The variant's label names it. Settings that were chosen on the selection set may differ as well, as they were
chosen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actbench.analysis.grids import Choice, choose
from actbench.analysis.labels import LONG, label, labels
from actbench.config import FinetuneSettings, SquadSettings
from actbench.config.finetuning import OF_COEFFICIENTS
from actbench.config.placement import named_in, short_name
from actbench.config.resolve import read_recorded
from actbench.config.schema import WHERE_DATA_IS
from actbench.errors import nearest
from actbench.store import Run, identity_hash
from actbench.store.index import flat

Place = tuple[str, str | None, str | None, bool]  # a cohort's name, task and text, and whether it is zero-shot

TUNE = "tune"  # the setting that labels name
# Of fine-tuning, what a cohort's runs need not share.
OWN_SETTINGS = (*OF_COEFFICIENTS, "compile", "keep_weights", TUNE)
ALL = "all"
MOST_KEYS = 3  # of a recipe, that a name says

ANALYSIS = "analyze"  # the kind of a run that holds findings on a model, and no result to compare

SeedKey = tuple[int, int]  # (pre-training seed, fine-tuning seed); a pre-training run has 0 for the second


@dataclass(frozen=True)
class Variant:
    """A cohort's runs with one activation, one a seed. `repeats` are runs that a newer one stands for.

    `choices`, by pre-training seed, say which settings of a grid its runs were chosen for.
    """

    label: str
    runs: Mapping[SeedKey, Run]
    repeats: tuple[Run, ...] = ()
    choices: Mapping[int, Choice] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the runs, in the order of their seeds."""
        return tuple(run.id for run in self.runs.values())

    @property
    def left(self) -> tuple[Run, ...]:
        """The runs of a grid's other points."""
        return tuple(run for choice in self.choices.values() for run in choice.left)

    @property
    def first(self) -> Run:
        """The run of the lowest seed."""
        return next(iter(self.runs.values()))


@dataclass(frozen=True)
class Cohort:
    """Runs that may be compared. `name` is the recipes', with what tells setups apart where two share it."""

    name: str
    task: str | None  # of fine-tuning, of a transfer or of a zero-shot evaluation
    variants: tuple[Variant, ...]
    text: str | None = None  # that trained models were evaluated on

    @property
    def is_zero_shot(self) -> bool:
        """Whether its runs are evaluations on a task that the models were not trained on."""
        return is_zero_shot(self.variants[0].first)

    @property
    def is_pretraining(self) -> bool:
        """Whether its runs are the models' own training."""
        first = self.variants[0].first
        return first.kind == "pretrain" and not first.imported

    @property
    def is_import(self) -> bool:
        """Whether its runs are models that came ready: there are no losses to compare."""
        return self.task is None and self.text is None and self.variants[0].first.imported

    @property
    def is_tuned(self) -> bool:
        """Whether its runs are fine-tunings, or test such."""
        return "finetune" in self.variants[0].first.info

    @property
    def is_transfer(self) -> bool:
        """Whether its runs test fine-tuned ones on another task's data; `task` then names both."""
        return is_transfer(self.variants[0].first)

    def called(self, name: str) -> Variant | None:
        """The variant labelled `name`, or else the only one whose activation is called so.

        Where nothing was fine-tuned, the label of a tuning mode means the activation that it begins with.
        """
        exact = [variant for variant in self.variants if variant.label == name]
        candidates = exact or [variant for variant in self.variants if self._is_called(variant, name)]
        return candidates[0] if len(candidates) == 1 else None

    def why_none_called(self, name: str) -> str:
        """What to tell a reader when `called` finds none."""
        labels = [variant.label for variant in self.variants]
        if any(self._is_called(variant, name) for variant in self.variants):
            return f"several variants of {name}: choose one of {', '.join(labels)}"
        return f"no finished run with {name} here to compare with ({nearest(name, labels)})"

    def _is_called(self, variant: Variant, name: str) -> bool:
        asked = named_in(name) if not self.is_tuned and f"{TUNE}=" in name else short_name(name)
        return short_name(variant.first.activation) == asked


def cohorts(runs: Iterable[Run], chosen: Sequence[str] = ()) -> list[Cohort]:
    """Sorts runs of any kinds into cohorts: by model, then task and text; variants by label.

    `chosen` are fine-tuning settings of a grid: of runs that differ in them, those of the best point on the selection
    set are a variant's runs (see analysis/grids.py). Under protocol official, a grid's points stay apart. Of transfers,
    those of the chosen fine-tunings are; where these are not among `runs`, a grid's points stay apart, too.
    """
    alike = [(identity_hash(setup(run, _grid(run, chosen))), run) for run in runs]
    choices = _choices(alike, chosen) if chosen else {}
    setups: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    for shared, run in alike:
        if is_transfer(run) and _decider(run) not in choices:
            setups.setdefault((identity_hash(setup(run)), ()), []).append(run)
        else:
            setups.setdefault((shared, _grid(run, chosen)), []).append(run)
    places = [(_name(group), _task(group[0]), _text(group[0]), is_zero_shot(group[0])) for group in setups.values()]
    names = _told_apart(list(setups), [group[0] for group in setups.values()], places)
    made = [
        Cohort(name, task, _variants(group, of_group, choices), text)
        for name, ((_, of_group), group), (_, task, text, _) in zip(names, setups.items(), places, strict=True)
    ]
    return sorted(made, key=lambda cohort: (cohort.name, cohort.task or "", cohort.text or ""))


def seed_key(run: Run) -> SeedKey:
    """What two runs must share to be a pair."""
    return run.seed, int(run.info.get("finetune_seed", 0))


def split_finished(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """The finished runs, and the others."""
    return [r for r in runs if r.status == "finished"], [r for r in runs if r.status != "finished"]


def _variants(runs: list[Run], chosen: Sequence[str], choices: Mapping[str, Choice]) -> tuple[Variant, ...]:
    by_kind: dict[tuple[str, str], dict[SeedKey, list[Run]]] = {}
    runs = [run for run in runs if (choice := choices.get(_decider(run))) is None or _decider(run) in choice.kept]
    runs.sort(key=lambda run: (run.info["created"], run.id))
    for run, name in zip(runs, labels(runs, chosen), strict=True):
        by_kind.setdefault((name, _own_source(run)), {}).setdefault(seed_key(run), []).append(run)
    names = [name for name, _ in by_kind]
    return tuple(
        _variant(name if names.count(name) == 1 else f"{name} #{source[:4]}", by_kind[name, source], choices)
        for name, source in sorted(by_kind)
    )


def _grid(run: Run, chosen: Sequence[str]) -> tuple[str, ...]:
    """Those of the settings that may be chosen for a run: none where the set that chooses is the one reported on."""
    return () if run.info.get("finetune", {}).get("protocol") == "official" else tuple(chosen)


def _decider(run: Run) -> str:
    """The run whose part in a grid decides whether this one counts: of a transfer, the fine-tuning that it tests."""
    return str(run.info["parent"]) if is_transfer(run) else run.id


def _choices(alike: Iterable[tuple[str, Run]], chosen: Sequence[str]) -> dict[str, Choice]:
    """By fine-tuned run, what was chosen among all of its cohort, pre-trained run and treatment.

    `alike` are runs with what stands for their cohort.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for shared, run in alike:
        if run.kind == "finetune" and _grid(run, chosen):
            groups.setdefault((shared, str(run.info["parent"]), label(run, chosen)), []).append(run)
    found = {}
    for group in groups.values():
        finished, _ = split_finished(group)
        if finished:
            choice = choose(finished, chosen)
            found.update({run.id: choice for run in group})
    return found


def _variant(name: str, by_seed: dict[SeedKey, list[Run]], choices: Mapping[str, Choice]) -> Variant:
    newest = {key: by_seed[key][-1] for key in sorted(by_seed)}
    repeats = tuple(run for key in sorted(by_seed) for run in by_seed[key][:-1])
    found = {run.seed: choices[run.id] for run in newest.values() if run.id in choices}
    return Variant(name, newest, repeats, found)


def _own_source(run: Run) -> str:
    """Tells an activation that does not ship with actbench from what its code was at another time; else empty."""
    code = run.info.get("code")
    return identity_hash(code) if code else ""


def setup(run: Run, chosen: Sequence[str] = ()) -> dict[str, Any]:
    """All that the runs of a cohort share. Hardware counts as it was found: asked for, it may be `auto`.

    What a recipe says by default counts as unsaid: a version that knows one more key tells no run from older ones. The
    hash of the data stands for where it lay.
    """
    recorded = read_recorded(run.info["recipe"], str(run.folder / "run.json"))
    own = {**dict.fromkeys(("name", "seed", "hardware", "logging", "checkpoint"), True), **WHERE_DATA_IS}
    said = recorded.model_dump(mode="json", exclude_defaults=True, exclude=own)
    recipe = {section: value for section, value in said.items() if value != {}}
    model, optimizer = recipe["model"], recipe.pop("optimizer", {})
    for section in (model, optimizer):
        section.pop("activation", None)
        section.pop("activation_overrides", None)
    if "moe" in model:
        model["moe"].pop("activation_sharing", None)
        if recorded.batch.accumulate == 1:
            model["moe"].pop("load_balance_over", None)  # a step is one micro-batch
    left = {*OWN_SETTINGS, *chosen}
    return {
        "kind": run.kind,
        "recipe": {**recipe, **({"optimizer": optimizer} if optimizer else {})},
        "data": data_hash(run),
        "hardware": {key: run.info["hardware"].get(key) for key in ("device", "precision")},
        "task": _task(run),
        "finetune": {key: value for key, value in finetune_settings(run).items() if key not in left},
        **({"analysis": run.info["analysis"]} if run.kind == ANALYSIS else {}),
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


def _told_apart(
    setups: Sequence[tuple[str, tuple[str, ...]]], firsts: Sequence[Run], places: Sequence[Place]
) -> list[str]:
    """A name for each setup. Where several would share one, their recipes and their fine-tuning tell them apart.

    A hash does where these do not.
    """
    named = []
    words = _differing_recipes(firsts, places)
    for (_, chosen), first, place, of_recipe in zip(setups, firsts, places, words, strict=True):
        sharing = [other for other, where in zip(firsts, places, strict=True) if where == place]
        said = [*of_recipe, *_differing_settings(first, sharing, chosen)]
        named.append((f"{place[0]} ({', '.join(said)})" if said else place[0], *place[1:]))
    return [
        place[0] if named.count(place) == 1 else f"{place[0]} #{shared[:4]}"
        for (shared, _), place in zip(setups, named, strict=True)
    ]


def _differing_recipes(firsts: Sequence[Run], places: Sequence[Place]) -> list[list[str]]:
    """For each run ["optimizer.lr=0.001"]: its values of the recipe keys in which those of its name differ.

    The hardware, as it was found, counts among those of one place alone: a model may be fine-tuned on another machine
    than it was trained on.
    """
    shared = [setup(first) for first in firsts]
    recipes = [dict(flat(one["recipe"])) for one in shared]
    found = [dict(flat({"hardware": one["hardware"]})) for one in shared]
    values = [{**_all_values(run), **hardware} for run, hardware in zip(firsts, found, strict=True)]
    words = []
    for own, place in zip(values, places, strict=True):
        of_name = [i for i, other in enumerate(places) if other[0] == place[0]]
        of_place = [i for i in of_name if places[i] == place]
        keys = [*_differing([recipes[i] for i in of_name]), *_differing([found[i] for i in of_place])]
        short = all(_is_short(values[i].get(key)) for key in keys for i in of_name)
        words.append(_key_words(own, keys) if short and len(keys) <= MOST_KEYS else [])
    return words


def _all_values(run: Run) -> dict[str, Any]:
    """A recorded recipe's values by dotted key, also those that stand by default."""
    recorded = read_recorded(run.info["recipe"], str(run.folder / "run.json"))
    return dict(flat(recorded.model_dump(mode="json")))


def _differing(each: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of which some have another value than others, or none."""
    keys = dict.fromkeys(key for one in each for key in one)
    return [key for key in keys if len({json.dumps(one[key]) if key in one else "" for one in each}) > 1]


def _is_short(value: Any) -> bool:
    return isinstance(value, str) or len(json.dumps(value)) <= LONG


def _key_words(values: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """ "key=value" for each key; those without a value count only where there is no other."""
    with_value = [key for key in keys if values.get(key) is not None]
    return [f"{key}={_spelled(values.get(key))}" for key in with_value or keys]


def _spelled(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _differing_settings(run: Run, sharing: Sequence[Run], chosen: Sequence[str]) -> list[str]:
    """["protocol official", "train_size 100"], where those sharing a name differ in that."""
    each = [finetune_settings(other) for other in sharing]
    own, left = finetune_settings(run), {*OWN_SETTINGS, *chosen}
    differing = [key for key in own if key not in left and len({repr(one.get(key)) for one in each}) > 1]
    return [f"{key} {ALL if key == 'train_size' and own[key] is None else own[key]}" for key in differing]


def _name(runs: list[Run]) -> str:
    return " / ".join(sorted({str(run.info["recipe"]["name"]) for run in runs}))


def _task(run: Run) -> str | None:
    name = run.info.get("task", {}).get("name")
    return None if name is None else str(name)


def _text(run: Run) -> str | None:
    return str(run.info["data"]["text"]) if run.kind == "evaluate" and "task" not in run.info else None


def is_transfer(run: Run) -> bool:
    """Whether the run tests a fine-tuned one on another task's data."""
    return run.info.get("measure") == "transfer"


def is_zero_shot(run: Run) -> bool:
    """Whether the run is an evaluation on a task that its model was not trained on."""
    return run.info.get("measure") == "zero-shot"
