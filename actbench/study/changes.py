"""What a call says otherwise than the study file: of its recipes, its follow-ups' settings, and where data is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actbench.config.resolve import Source, apply_overrides
from actbench.errors import BadInput, Problem, nearest

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Changes:
    """What a call says otherwise than the study file.

    `keys` ("key=value") change every base recipe, under the axes; or a setting of all follow-ups that are called as the
    key begins, as in "glue.train_size=300", which no grid varies then. `data` says where the data of follow-ups and
    tests of transfer is that are called so, as in {"glue": "GLUE", "zero-shot": "eval", "snli": "snli_1.0_test.jsonl"}.
    Where both are called so, a folder is the follow-ups' and a file the tests'.
    """

    keys: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)


def changed(study: Source, changes: Changes) -> tuple[Source, Source]:
    """The study's source with its follow-ups changed, and what is to be merged over every base recipe.

    Raises BadInput for a key without a value, and for data that no follow-up has.
    """
    given = apply_overrides(Source({}), changes.keys)
    _give_settings(study, given)
    _give_data(study, changes.data)
    return study, given


def _give_settings(study: Source, given: Source) -> None:
    """Puts into the follow-ups what `given` has of them, in the place of a grid's values, and takes it out of there."""
    tuned = [(key, section) for key, section in _follow_ups(study) if "finetune" in section]
    for name in {str(section["finetune"]) for _, section in tuned} & given.data.keys():
        settings = given.data.pop(name)
        if not isinstance(settings, dict):
            hint = f"a setting of it is meant, as in --set {name}.train_size=300"
            raise BadInput(Problem(f"'{name}' is a follow-up", given.place(name), hint=hint))
        for key, section in tuned:
            if section["finetune"] == name:
                own, grid = (_dicts([section.get(part)])[0] for part in ("settings", "grid"))
                section["settings"] = {**own, **settings}
                section["grid"] = {axis: values for axis, values in grid.items() if axis not in settings}
                study.places |= {f"{key}.settings.{one}": given.place(f"{name}.{one}") for one in settings}


def _give_data(study: Source, data: Mapping[str, str]) -> None:
    """Puts other folders into the follow-ups and tests that are called so. Raises BadInput where none is."""
    own = dict(_follow_ups(study))
    tests = {
        f"{place}.transfer.{k}": test
        for place, follow_up in own.items()
        for k, test in enumerate(_dicts(follow_up.get("transfer")))
    }
    called = {place: _name(section) for place, section in (own | tests).items()}
    of_both = {called[place] for place in own} & {called[place] for place in tests}  # SQuAD: a folder, and a file
    for place, section in (own | tests).items():
        name = called[place]
        if name in data and (name not in of_both or Path(data[name]).is_file() == (place in tests)):
            section["data"] = data[name]
            study.places[f"{place}.data"] = f"--data {name}={data[name]}"
    known = dict.fromkeys(name for name in called.values() if name)
    unknown = [name for name in data if name not in known]
    if unknown:
        hint = nearest(unknown[0], list(known)) or "the study has none"
        raise BadInput(Problem(f"no follow-up is called '{unknown[0]}'", f"--data {unknown[0]}", hint=hint))


def _name(section: Mapping[str, Any]) -> str:
    """What --data calls a follow-up or a test of transfer; nothing where it reads no data."""
    scored = ZERO_SHOT if section.get("eval") == ZERO_SHOT else ""
    return str(section.get("finetune") or section.get("task") or scored)


def _follow_ups(study: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every follow-up as the file has it, after its key."""
    for i, experiment in enumerate(_dicts(study.data.get("experiments"))):
        for j, follow_up in enumerate(_dicts(experiment.get("follow_ups"))):
            yield f"experiments.{i}.follow_ups.{j}", follow_up


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The mappings of a list, others as empty ones: the schema tells of them."""
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []
