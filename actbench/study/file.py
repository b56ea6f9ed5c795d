"""What a study file says: base recipes, the axes to vary, what to do with each run, and the baseline."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from actbench.analysis.claims import Claim
from actbench.config import Recipe
from actbench.config.placement import short_name
from actbench.config.resolve import Source, merge, override_source, read_chain, recipe_from, validate
from actbench.config.section import Section, Several
from actbench.errors import BadInput, Problem, nearest
from actbench.study.follow_ups import HUB, KNOWN_TASKS, EvaluateFollowUp, FinetuneFollowUp, FollowUp, ZeroShotFollowUp


class Experiment(Section):
    """One base recipe, and every combination of the axes' values put into it."""

    recipe: str  # relative to the study file
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]]  # dotted recipe key: values
    follow_ups: Several[FollowUp] = ()  # what to do with each run


class Study(Section):
    """A study file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
    title: str
    about: str = ""
    claim: Claim | None = None  # what is to be shown, stated before the runs
    baseline: str = "gelu"  # the activation the others are compared to
    experiments: Annotated[list[Experiment], Field(min_length=1)]


@dataclass(frozen=True)
class Job:
    """One pre-training run of a study, and its follow-ups."""

    recipe: Recipe
    follow_ups: tuple[FollowUp, ...]


@dataclass(frozen=True)
class LoadedStudy:
    """A study file with every recipe resolved and checked."""

    study: Study
    jobs: list[Job]


def load_study(path: Path) -> LoadedStudy:
    """Reads a study and resolves every run in it. Raises BadInput listing every problem, before anything runs."""
    source = read_chain(path)
    study = validate(source, Study)
    jobs: list[Job] = []
    problems: list[Problem] = []
    for i, experiment in enumerate(study.experiments):
        place = source.place(f"experiments.{i}.recipe")
        try:
            base = read_chain(path.parent / experiment.recipe)
        except BadInput as error:
            problems += [_placed(problem, place, f"experiments.{i}.recipe") for problem in error.problems]
            continue
        before = len(jobs)
        for combination in _combinations(experiment):
            merged = base
            for key, value in combination.items():
                axis_place = source.place(f"experiments.{i}.axes.{key}")
                merged = merge(merged, override_source(key, value, axis_place))
            jobs += _job(merged, experiment, problems)
        made = [job.recipe for job in jobs[before:]]
        problems += _follow_up_problems(source, i, experiment, made)
        used = {short_name(recipe.model.activation.name) for recipe in made}
        if made and short_name(study.baseline) not in used:
            message = f"no run of experiment {i + 1} has the baseline's activation, '{study.baseline}'"
            problems.append(Problem(message, place, f"experiments.{i}", nearest(study.baseline, sorted(used))))
    problems += _claim_problems(source, study, [job.recipe for job in jobs])
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    return LoadedStudy(study, jobs)


def _combinations(experiment: Experiment) -> list[dict[str, Any]]:
    keys = list(experiment.axes)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*experiment.axes.values())]


def _job(source: Source, experiment: Experiment, problems: list[Problem]) -> list[Job]:
    try:
        return [Job(recipe_from(source), experiment.follow_ups)]
    except BadInput as error:
        problems += error.problems
        return []


def _follow_up_problems(source: Source, i: int, experiment: Experiment, made: Sequence[Recipe]) -> Iterator[Problem]:
    """What cannot be done with the experiment's runs."""
    for j, follow_up in enumerate(experiment.follow_ups):
        key = f"experiments.{i}.follow_ups.{j}"
        if isinstance(follow_up, EvaluateFollowUp):
            continue
        families = {recipe.model.family for recipe in made}
        if isinstance(follow_up, ZeroShotFollowUp):
            if families - {"gpt"}:
                yield Problem("zero-shot evaluation needs a decoder, a model of family gpt", source.place(key), key)
            continue
        if families - {"bert"}:
            yield Problem("only a BERT can be fine-tuned", source.place(key), key)
        known = KNOWN_TASKS[follow_up.finetune]
        for name in follow_up.task_names:
            if name not in known:
                place = source.place(f"{key}.tasks")
                yield Problem(f"unknown task '{name}'", place, f"{key}.tasks", nearest(name, known))
        data = follow_up.data
        if data not in (None, HUB) and not Path(str(data)).is_dir():
            yield Problem(f"no such folder: {data}", source.place(f"{key}.data"), f"{key}.data")


def _claim_problems(source: Source, study: Study, recipes: Sequence[Recipe]) -> Iterator[Problem]:
    """What the claim speaks of and the study does not run."""
    claim = study.claim
    if claim is None or not recipes:
        return
    activations = {short_name(recipe.model.activation.name) for recipe in recipes}
    if not any(claim.activation.startswith(name) for name in activations):  # a label may tell more than the name
        message = f"no run has the claim's activation, '{claim.activation}'"
        yield Problem(
            message, source.place("claim.activation"), "claim.activation", _near(claim.activation, activations)
        )
    models = {recipe.name for recipe in recipes}
    if claim.model is not None and claim.model not in models:
        message = f"no run has the claim's model, '{claim.model}'"
        yield Problem(message, source.place("claim.model"), "claim.model", _near(claim.model, models))
    follow_ups = [follow_up for experiment in study.experiments for follow_up in experiment.follow_ups]
    on_tasks = [follow_up for follow_up in follow_ups if isinstance(follow_up, FinetuneFollowUp | ZeroShotFollowUp)]
    tasks = {name for follow_up in on_tasks for name in follow_up.task_names}
    if claim.task is not None and claim.task not in tasks:
        message = f"no run is fine-tuned or scored on the claim's task, '{claim.task}'"
        yield Problem(message, source.place("claim.task"), "claim.task", _near(claim.task, tasks))


def _near(word: str, known: set[str]) -> str:
    return nearest(word, sorted(known))


def _placed(problem: Problem, place: str, key: str) -> Problem:
    missing = problem.message == "no such file"
    return Problem(f"no such file: {problem.where}", place, key, problem.hint) if missing else problem
