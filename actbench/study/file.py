"""What a study file says: base recipes, the axes to vary, what to do with each run, and the baseline."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from actbench.analysis.claims import Claim
from actbench.analysis.comparisons import Stated
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.config import Recipe
from actbench.config.approximation import ApproximationSection
from actbench.config.placement import named_in, short_name
from actbench.config.resolve import (
    Source,
    merge,
    override_source,
    read_chain,
    recipe_from,
    validate,
)
from actbench.config.section import Section, Several
from actbench.config.tuning import WITHOUT_COEFFICIENTS
from actbench.data.checkpoints import open_checkpoint
from actbench.errors import BadInput, Problem, nearest
from actbench.evaluation.transfer_plan import transfer_name
from actbench.study.changes import Changes, changed
from actbench.study.follow_ups import (
    HUB,
    KNOWN_TASKS,
    AnalyzeFollowUp,
    EvaluateFollowUp,
    FinetuneFollowUp,
    FollowUp,
    ZeroShotFollowUp,
)
from actbench.training.known_model import PREFIX, base_recipe, swapped_recipe


class Experiment(Section):
    """One base recipe, and every combination of the axes' values put into it."""

    recipe: str  # relative to the study file; or a model that came ready, hf:MODEL
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]]  # dotted recipe key: values
    follow_ups: Several[FollowUp] = ()  # what to do with each run


class Study(Section):
    """A study file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
    title: str
    about: str = ""
    claim: Claim | None = None  # what is to be shown, stated before the runs
    baseline: str = "gelu"  # the activation the others are compared to, or a label as the report shows it
    comparisons: Several[Stated] = ()  # besides those to the baseline
    approximation: ApproximationSection | None = None  # of smooth functions, by networks that the study need not train
    experiments: Annotated[list[Experiment], Field(min_length=1)]

    @property
    def chosen(self) -> tuple[str, ...]:
        """The fine-tuning settings that some follow-up has a grid of."""
        follow_ups = [follow_up for experiment in self.experiments for follow_up in experiment.follow_ups]
        axes = (axis for one in follow_ups if isinstance(one, FinetuneFollowUp) for axis in one.grid.axes)
        return tuple(dict.fromkeys(axes))


@dataclass(frozen=True)
class Job:
    """One pre-training run of a study, and its follow-ups; `places` are theirs in the file, (place, key) each."""

    recipe: Recipe
    follow_ups: tuple[FollowUp, ...]
    places: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LoadedStudy:
    """A study file with every recipe resolved and checked."""

    study: Study
    jobs: list[Job]


def load_study(path: Path, changes: Changes | None = None) -> LoadedStudy:
    """Reads a study and resolves every run in it. Raises BadInput listing every problem, before anything runs."""
    source, over = changed(read_chain(path), changes or Changes())
    study = validate(source, Study)
    jobs: list[Job] = []
    models: list[tuple[int, str, set[str]]] = []  # experiments: number, place, names of their recipes
    problems: list[Problem] = []
    for i, experiment in enumerate(study.experiments):
        place = source.place(f"experiments.{i}.recipe")
        problems += _overlaps(source, i, list(experiment.axes))
        try:
            base = merge(_base(path.parent, experiment.recipe), over)
        except BadInput as error:
            problems += [_placed(problem, place, f"experiments.{i}.recipe") for problem in error.problems]
            continue
        before = len(jobs)
        for combination in _combinations(experiment):
            merged = base
            for key, value in combination.items():
                axis_place = source.place(f"experiments.{i}.axes.{key}")
                merged = merge(merged, override_source(key, value, axis_place))
            jobs += _job(merged, experiment, _places(source, i, experiment), problems)
        made = [job.recipe for job in jobs[before:]]
        problems += _follow_up_problems(source, i, experiment, made)
        if made:
            models.append((i, place, {recipe.name for recipe in made}))
    recipes = [job.recipe for job in jobs]
    for i, place, names in models:  # its baseline may be another experiment's
        used = {short_name(recipe.model.activation.name) for recipe in recipes if recipe.name in names}
        if used.isdisjoint(_meant(study.baseline)):
            message = f"no run of experiment {i + 1} has the baseline's activation, '{study.baseline}'"
            problems.append(Problem(message, place, f"experiments.{i}", _near(named_in(study.baseline), used)))
    problems += _comparison_problems(source, study, recipes)
    problems += _approximation_problems(source, study)
    problems += _claim_problems(source, study, recipes)
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    return LoadedStudy(study, jobs)


def _base(folder: Path, recipe: str) -> Source:
    if recipe.startswith(PREFIX):
        return base_recipe(open_checkpoint(recipe.removeprefix(PREFIX)))
    return read_chain(folder / recipe)


def _combinations(experiment: Experiment) -> list[dict[str, Any]]:
    keys = list(experiment.axes)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*experiment.axes.values())]


def _overlaps(source: Source, i: int, keys: Sequence[str]) -> Iterator[Problem]:
    """Axes that set what another one sets: the later one's values would replace the other's."""
    for outer, inner in itertools.permutations(keys, 2):
        if inner.startswith(f"{outer}."):
            key = f"experiments.{i}.axes.{inner}"
            yield Problem(f"the axis '{outer}' sets it too", source.place(key), key, "leave one of them out")


def _places(source: Source, i: int, experiment: Experiment) -> tuple[tuple[str, str], ...]:
    keys = (f"experiments.{i}.follow_ups.{j}" for j, _ in enumerate(experiment.follow_ups))
    return tuple((source.place(key), key) for key in keys)


def _job(
    source: Source, experiment: Experiment, places: tuple[tuple[str, str], ...], problems: list[Problem]
) -> list[Job]:
    try:
        resolve = swapped_recipe if experiment.recipe.startswith(PREFIX) else recipe_from
        return [Job(resolve(source), experiment.follow_ups, places)]
    except BadInput as error:
        problems += error.problems
        return []


def _follow_up_problems(source: Source, i: int, experiment: Experiment, made: Sequence[Recipe]) -> Iterator[Problem]:
    """What cannot be done with the experiment's runs."""
    for j, follow_up in enumerate(experiment.follow_ups):
        key = f"experiments.{i}.follow_ups.{j}"
        if isinstance(follow_up, EvaluateFollowUp | AnalyzeFollowUp):
            continue
        families = {recipe.model.family for recipe in made}
        if isinstance(follow_up, ZeroShotFollowUp):
            if families - {"gpt"}:
                yield Problem("zero-shot evaluation needs a decoder, a model of family gpt", source.place(key), key)
            continue
        if families - {"bert"}:
            yield Problem("only a BERT can be fine-tuned", source.place(key), key)
        if made and not any(follow_up.suits(recipe) for recipe in made):
            mode, place = follow_up.settings.tune, f"{key}.settings.tune"
            hint = f"'{WITHOUT_COEFFICIENTS[mode]}' moves the same besides"
            yield Problem(f"'{mode}': no run has an activation with coefficients", source.place(place), place, hint)
        known = KNOWN_TASKS[follow_up.finetune]
        for name in follow_up.task_names:
            if name not in known:
                place = source.place(f"{key}.tasks")
                yield Problem(f"unknown task '{name}'", place, f"{key}.tasks", nearest(name, known))
        for k, test in enumerate(follow_up.transfer):
            if not Path(test.data).is_file():
                at = f"{key}.transfer.{k}.data"
                yield Problem(f"no such file: {test.data}", source.place(at), at)
        data = follow_up.data
        if data not in (None, HUB) and not Path(str(data)).is_dir():
            yield Problem(f"no such folder: {data}", source.place(f"{key}.data"), f"{key}.data")


def _comparison_problems(source: Source, study: Study, recipes: Sequence[Recipe]) -> Iterator[Problem]:
    """What a stated comparison speaks of and the study does not run, and what is compared without it."""
    by_model: dict[str, set[str]] = {}
    for recipe in recipes:
        by_model.setdefault(recipe.name, set()).add(short_name(recipe.model.activation.name))
    used = set().union(*by_model.values())
    stated = [(one.activation, one.against) for one in study.comparisons]
    for i, names in enumerate(stated if recipes else []):
        key = f"comparisons.{i}"
        sides = zip((f"{key}.activation", f"{key}.against"), names, strict=True)
        unused = [(side, name) for side, name in sides if used.isdisjoint(_meant(name))]
        for side, name in unused:
            message, hint = f"no run has the activation to compare, '{name}'", _near(named_in(name), used)
            yield Problem(message, source.place(side), side, hint)
        if study.baseline in names:
            message = f"'{study.baseline}' is the baseline, which every activation is compared with anyway"
            yield Problem(message, source.place(key), key, "leave the comparison out")
        elif names[0] == names[1]:
            yield Problem(f"'{names[0]}' beside itself", source.place(key), key)
        elif not unused and not any(all(own & _meant(name) for name in names) for own in by_model.values()):
            yield Problem("no model is trained with both", source.place(key), key)
        if any(set(names) == set(other) for other in stated[:i]):
            yield Problem("the same two are compared already", source.place(key), key, "leave one of them out")


def _approximation_problems(source: Source, study: Study) -> Iterator[Problem]:
    if study.approximation is None:
        return
    from actbench.analysis.approximation import check_request

    try:
        check_request(study.approximation)
    except BadInput as error:
        for problem in error.problems:
            key = f"approximation.{problem.where.removeprefix('--')}"
            yield Problem(problem.message, source.place(key), key, problem.hint)


def _claim_problems(source: Source, study: Study, recipes: Sequence[Recipe]) -> Iterator[Problem]:
    """What the claim speaks of and the study does not run."""
    claim = study.claim
    if claim is None or not recipes:
        return
    activations = {short_name(recipe.model.activation.name) for recipe in recipes}
    if activations.isdisjoint(_meant(claim.activation)):
        message = f"no run has the claim's activation, '{claim.activation}'"
        hint = _near(named_in(claim.activation), activations)
        yield Problem(message, source.place("claim.activation"), "claim.activation", hint)
    models = {recipe.name for recipe in recipes}
    if claim.model is not None and claim.model not in models:
        message = f"no run has the claim's model, '{claim.model}'"
        yield Problem(message, source.place("claim.model"), "claim.model", _near(claim.model, models))
    if claim.activation == study.baseline:
        message = f"'{claim.activation}' is the baseline itself"
        yield Problem(message, source.place("claim.activation"), "claim.activation")
    of_model = {recipe.name: _pairs(study, claim, recipe.name, recipes) for recipe in recipes}
    pairs = {name: n for name, n in of_model.items() if n is not None and claim.model in (None, name)}
    fewest = min(pairs, key=lambda name: pairs[name], default=None)
    if fewest is not None and pairs[fewest] < ENOUGH_PAIRS:
        have = f"{fewest} has {pairs[fewest]}, with the baseline's among them"
        message = f"a claim needs {ENOUGH_PAIRS} pre-training seeds to be judged, and {have}"
        yield Problem(message, source.place("claim"), "claim", "leave the claim out or add seeds")
    follow_ups = [follow_up for experiment in study.experiments for follow_up in experiment.follow_ups]
    on_tasks = [follow_up for follow_up in follow_ups if isinstance(follow_up, FinetuneFollowUp | ZeroShotFollowUp)]
    tasks = {name for follow_up in on_tasks for name in follow_up.task_names}
    tuned = [follow_up for follow_up in on_tasks if isinstance(follow_up, FinetuneFollowUp)]
    tasks |= {transfer_name(name, test.task) for follow_up in tuned for name, test in follow_up.transfers}
    if claim.task is not None and claim.task not in tasks:
        message = f"no run is fine-tuned or scored on the claim's task, '{claim.task}'"
        yield Problem(message, source.place("claim.task"), "claim.task", _near(claim.task, tasks))


def _pairs(study: Study, claim: Claim, model: str, recipes: Sequence[Recipe]) -> int | None:
    """How many seeds a model has with both the claim's and the baseline's activation; None: none of the claim's."""
    own = [(short_name(recipe.model.activation.name), recipe.seed) for recipe in recipes if recipe.name == model]
    claimed, others = (
        {seed for name, seed in own if name in _meant(activation)} for activation in (claim.activation, study.baseline)
    )
    return len(claimed & others) if claimed else None


def _meant(said: str) -> set[str]:
    """The activation by its name, or by that which a label begins with."""
    return {short_name(said), named_in(said)}


def _near(word: str, known: set[str]) -> str:
    return nearest(word, sorted(known))


def _placed(problem: Problem, place: str, key: str) -> Problem:
    missing = problem.message == "no such file"
    return Problem(f"no such file: {problem.where}", place, key, problem.hint) if missing else problem
