"""What a study does with each pre-trained run: fine-tune it, measure it on a text or on tasks, or look into it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from actbench.config import FinetuneSettings, Recipe, SquadSettings
from actbench.config.grid import FinetuneGrid, SquadGrid
from actbench.config.schema import BertSection
from actbench.config.section import Positive, Section, Seed, Several
from actbench.config.tuning import FULL
from actbench.data import glue, probes, squad
from actbench.evaluation.analyses import SEQUENCES, Analysis
from actbench.evaluation.transfer_plan import INFERENCE, QUESTIONS, TestName
from actbench.study.told_apart import spelled, told_apart
from actbench.training.finetune_plan import CHOSEN_ON_REPORTED, has_coefficients_for, points

KNOWN_TASKS = {"probes": list(probes.TASKS), "glue": list(glue.TASKS)} | {name: [name] for name in squad.TASKS}
HUB = "hub"
MOST_NAMED = 4  # tasks of a title
SHORT = {"train_size": "train"}  # settings that a title calls otherwise, for rows of 100 columns
UNTOLD = {"finetune", "eval", "analyze", "tasks", "transfer", "corpus", "data"}  # or told by words of their own


class TransferTest(Section):
    """Data to test a fine-tuned run on, without learning anything from it."""

    task: TestName
    data: str  # a file, relative to the working folder


class FinetuneFollowUp(Section):
    """Fine-tune each BERT with each of these seeds; what on, its kinds say."""

    finetune: str
    seeds: Annotated[Several[Seed], Field(min_length=1)]
    data: str | None = None  # the folder of the data, relative to the working folder, or hub (the default)
    settings: FinetuneSettings = FinetuneSettings()
    grid: FinetuneGrid = FinetuneGrid()  # settings to try several values of: the selection set chooses
    transfer: Several[TransferTest] = ()  # each run that learned a task of the kind keeps its weights, and is tested

    @model_validator(mode="after")
    def _something_can_be_tested(self) -> FinetuneFollowUp:
        for test in self.transfer:
            if not any(self.is_tested(name, test) for name in self.task_names):
                needed = "mnli among its tasks" if test.task in INFERENCE else "finetune: squad or squad_v2"
                raise ValueError(f"transfer to {test.task} needs {needed}")
        if self.transfer and self.grid.axes:
            raise ValueError("transfer tests runs of one setting: give those that a grid has chosen, not a grid")
        return self

    @model_validator(mode="after")
    def _a_grid_is_not_chosen_on_what_is_reported(self) -> FinetuneFollowUp:
        if self.grid.axes and self.settings.protocol == "official":
            raise ValueError(f"{CHOSEN_ON_REPORTED}: leave out the grid, or settings.protocol: official")
        return self

    @property
    def title(self) -> str:
        """What it does, in two or three words."""
        mode = self.settings.tune
        return f"finetune {self.finetune}{'' if mode == FULL else f' {mode}'}"

    @property
    def all_settings(self) -> FinetuneSettings:
        """The settings; weights are kept where they are needed."""
        return self.settings.model_copy(update={"keep_weights": True}) if self.transfer else self.settings

    def is_tested(self, task: str, test: TransferTest) -> bool:
        """Whether runs that learned `task` are tested so."""
        return task in squad.TASKS if test.task in QUESTIONS else task == "mnli"

    @property
    def task_names(self) -> list[str]:
        """The tasks, each once."""
        return [self.finetune]

    @property
    def spans(self) -> bool:
        """Whether its tasks are answered with parts of texts."""
        return self.finetune in squad.TASKS

    def suits(self, recipe: Recipe) -> bool:
        """Whether its mode finds something to tune, or to leave, in a model by `recipe`."""
        model = recipe.model
        return not isinstance(model, BertSection) or has_coefficients_for(self.settings.tune, model, spans=self.spans)

    def tried(self, recipe: Recipe) -> list[FinetuneSettings]:
        """The settings, or those of all its grid's points, for a model pre-trained by `recipe`."""
        assert isinstance(recipe.model, BertSection)
        return points(self.settings, self.grid, recipe.model, spans=self.spans)

    def n_runs(self, recipe: Recipe) -> int:
        """How many runs it makes of one model pre-trained by `recipe`, tests of transfer among them."""
        return (len(self.task_names) * len(self.tried(recipe)) + len(self.transfers)) * len(set(self.seeds))

    @property
    def transfers(self) -> list[tuple[str, TransferTest]]:
        """Each task with each test of what was learned from it."""
        return [(name, test) for name in self.task_names for test in self.transfer if self.is_tested(name, test)]


class LabelsFollowUp(FinetuneFollowUp):
    """On tasks with labels or scores: `probes` are built-in stand-ins, `glue` is GLUE from its TSV files."""

    finetune: Literal["probes", "glue"]
    tasks: Annotated[Several[str], Field(min_length=1)] | None = None  # None: all; raft: all of glue's but wnli

    @model_validator(mode="after")
    def _probes_need_no_data(self) -> LabelsFollowUp:
        if self.finetune == "probes" and self.data is not None:
            raise ValueError("probes are built in: data is for glue")
        return self

    @property
    def task_names(self) -> list[str]:
        """The tasks, each once."""
        return glue.expand(self.tasks or KNOWN_TASKS[self.finetune])


class SquadFollowUp(FinetuneFollowUp):
    """On questions: `squad` is SQuAD 1.1, `squad_v2` 2.0, from their JSON files."""

    finetune: Literal["squad", "squad_v2"]
    settings: SquadSettings = SquadSettings()
    grid: SquadGrid = SquadGrid()


class TextFollowUp(Section):
    """One run of each model, on a text or on the model's own held-out documents."""

    corpus: str | Annotated[Several[str], Field(min_length=1)] | None = (
        None  # text files or globs, relative to the working folder
    )

    @property
    def files(self) -> list[str] | None:
        """The text's files and globs; None for the held-out documents."""
        return [self.corpus] if isinstance(self.corpus, str) else None if self.corpus is None else list(self.corpus)

    def suits(self, recipe: Recipe) -> bool:
        """Every model can be measured."""
        return True

    def n_runs(self, recipe: Recipe) -> int:
        """How many runs it makes of one pre-trained model."""
        return 1


class EvaluateFollowUp(TextFollowUp):
    """Measure each model's perplexity on the text."""

    eval: Literal["perplexity"]

    @property
    def title(self) -> str:
        """What it does, in two words."""
        return f"eval {self.eval}"


class ZeroShotFollowUp(Section):
    """Score each decoder on tasks that it was not trained on, each a run."""

    eval: Literal["zero-shot"]
    tasks: Annotated[Several[str], Field(min_length=1)]
    data: str | None = None  # the folder that holds the tasks' folders, relative to the working folder
    limit: Positive | None = None  # None: all items; otherwise a subset

    @property
    def title(self) -> str:
        """What it does, in two words."""
        return f"eval {self.eval}"

    @property
    def task_names(self) -> list[str]:
        """The tasks, each once."""
        return list(dict.fromkeys(self.tasks))

    def suits(self, recipe: Recipe) -> bool:
        """Whether its tasks can be put to a model by `recipe`: an error tells where they cannot."""
        return True

    def n_runs(self, recipe: Recipe) -> int:
        """How many runs it makes of one pre-trained model."""
        return len(self.task_names)


class AnalyzeFollowUp(TextFollowUp):
    """Look into each model: the rank of its weights, or on a text its hidden states or what its activations do."""

    analyze: Analysis
    sequences: Positive = SEQUENCES  # of the text; the rank reads none

    @model_validator(mode="after")
    def _rank_needs_no_text(self) -> AnalyzeFollowUp:
        if self.analyze == "rank" and self.model_fields_set & {"corpus", "sequences"}:
            raise ValueError("the rank is one of weights: no text is read, so leave out corpus and sequences")
        return self

    @property
    def title(self) -> str:
        """What it does, in two words."""
        return f"analyze {self.analyze}"


def _kind(data: Any) -> str | None:
    """Which of the kinds a mapping describes, by the key that it has."""
    given = data if isinstance(data, dict) else dict(data) if isinstance(data, Section) else {}
    if "finetune" in given:
        return "questions" if str(given["finetune"]).startswith("squad") else "labels"
    if "eval" in given:
        return "zero-shot" if str(given["eval"]).startswith("zero") else "evaluation"
    return "analysis" if "analyze" in given else None


FollowUp = Annotated[
    Annotated[LabelsFollowUp, Tag("labels")]
    | Annotated[SquadFollowUp, Tag("questions")]
    | Annotated[EvaluateFollowUp, Tag("evaluation")]
    | Annotated[ZeroShotFollowUp, Tag("zero-shot")]
    | Annotated[AnalyzeFollowUp, Tag("analysis")],
    Discriminator(
        _kind,
        custom_error_type="follow_up",
        custom_error_message="needs a key that says what to do: 'finetune' (probes, glue, squad or squad_v2), "
        "'eval' (perplexity or zero-shot) or 'analyze' (rank, similarity or activity)",
    ),
]


def titles(follow_ups: Iterable[FollowUp]) -> dict[FollowUp, str]:
    """What each of a study's follow-ups does, in a few words: its title, and what tells it from others of that title.

    No two are alike.
    """
    alike: dict[str, list[FollowUp]] = {}
    for follow_up in dict.fromkeys(follow_ups):
        alike.setdefault(follow_up.title, []).append(follow_up)
    found: dict[FollowUp, str] = {}
    for title, group in alike.items():
        named = [f"{title} {words}".rstrip() for words in told_apart([_facts(one) for one in group])]
        for number, (follow_up, name) in enumerate(zip(group, named, strict=True), 1):
            found[follow_up] = name if named.count(name) == 1 else f"{name} #{number}"
    return found


def _facts(follow_up: FollowUp) -> dict[str, str]:
    """What it is about, in words by key, those first that say most."""
    said = follow_up.model_dump(mode="json", exclude=UNTOLD)
    words = {}
    if isinstance(follow_up, LabelsFollowUp | ZeroShotFollowUp):
        names = follow_up.task_names
        words["tasks"] = f"({', '.join(names)})" if len(names) <= MOST_NAMED else f"({len(names)} tasks)"
    if isinstance(follow_up, TextFollowUp):
        paths = {"corpus": [Path(file).name for file in follow_up.files or []] or None}
    else:
        paths = {"data": [Path(follow_up.data).name] if follow_up.data else None}
    tests = [test.task for test in follow_up.transfer] if isinstance(follow_up, FinetuneFollowUp) else []
    settings = {SHORT.get(key, key): value for key, value in said.pop("settings", {}).items()}
    words |= spelled(settings) | spelled(paths) | spelled({"transfer": tests or None})
    return words | spelled(said)
