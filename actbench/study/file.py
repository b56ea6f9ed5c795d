"""What a study file says: base recipes, the axes to vary, what to do with each run, and the baseline."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from actbench.config import FinetuneSettings, Recipe
from actbench.config.placement import short_name
from actbench.config.resolve import Source, merge, override_source, read_chain, recipe_from, validate
from actbench.config.schema import Section
from actbench.errors import BadInput, Problem, nearest


class ProbesFollowUp(Section):
    """Fine-tune each BERT on the built-in stand-in tasks, with each of these seeds."""

    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    settings: FinetuneSettings = FinetuneSettings()


class Experiment(Section):
    """One base recipe, and every combination of the axes' values put into it."""

    recipe: str  # relative to the study file
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]]  # dotted recipe key: values
    probes: ProbesFollowUp | None = None


class Study(Section):
    """A study file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
    title: str
    about: str = ""
    baseline: str = "gelu"  # the activation the others are compared to
    experiments: Annotated[list[Experiment], Field(min_length=1)]


@dataclass(frozen=True)
class Job:
    """One pre-training run of a study, and its follow-up."""

    recipe: Recipe
    probes: ProbesFollowUp | None


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
        made = jobs[before:]
        if experiment.probes and any(job.recipe.model.family != "bert" for job in made):
            key = f"experiments.{i}.probes"
            problems.append(Problem("only a BERT can be fine-tuned", source.place(key), key))
        used = {short_name(job.recipe.model.activation.name) for job in made}
        if made and short_name(study.baseline) not in used:
            message = f"no run of experiment {i + 1} has the baseline's activation, '{study.baseline}'"
            problems.append(Problem(message, place, f"experiments.{i}", nearest(study.baseline, sorted(used))))
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    return LoadedStudy(study, jobs)


def _combinations(experiment: Experiment) -> list[dict[str, Any]]:
    keys = list(experiment.axes)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*experiment.axes.values())]


def _job(source: Source, experiment: Experiment, problems: list[Problem]) -> list[Job]:
    try:
        return [Job(recipe_from(source), experiment.probes)]
    except BadInput as error:
        problems += error.problems
        return []


def _placed(problem: Problem, place: str, key: str) -> Problem:
    missing = problem.message == "no such file"
    return Problem(f"no such file: {problem.where}", place, key, problem.hint) if missing else problem
