"""What a study does with each pre-trained run: fine-tune it on tasks, measure it on a text, or analyse it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from actbench.config import FinetuneSettings, Recipe, SquadSettings
from actbench.config.schema import FilesCorpus
from actbench.config.section import Positive, Section, Several
from actbench.data import glue, probes, squad
from actbench.data.packing import open_source
from actbench.data.tasks import TaskData
from actbench.evaluation.analyses import SEQUENCES, Analysis, AnalysisPlan, plan_analysis
from actbench.evaluation.load import recipe_of
from actbench.evaluation.plan import EvaluationPlan, plan_perplexity
from actbench.store import Run
from actbench.training.finetune_plan import FinetunePlan, check_size, plan_finetuning

KNOWN_TASKS = {"probes": list(probes.TASKS), "glue": list(glue.TASKS)} | {name: [name] for name in squad.TASKS}
HUB = "hub"

Seed = Annotated[int, Field(ge=0)]


class FinetuneFollowUp(Section):
    """Fine-tune each BERT with each of these seeds; what on, its kinds say."""

    finetune: str
    seeds: Annotated[Several[Seed], Field(min_length=1)]
    data: str | None = None  # the folder of the data, relative to the working folder, or hub (the default)
    settings: FinetuneSettings = FinetuneSettings()

    @property
    def title(self) -> str:
        """What it does, in two words."""
        return f"finetune {self.finetune}"

    @property
    def task_names(self) -> list[str]:
        """The tasks, each once."""
        return [self.finetune]

    @property
    def n_runs(self) -> int:
        """How many runs it makes of one pre-trained model."""
        return len(self.task_names) * len(set(self.seeds))


class LabelsFollowUp(FinetuneFollowUp):
    """On tasks with labels or scores: `probes` are built-in stand-ins, `glue` is GLUE from its TSV files."""

    finetune: Literal["probes", "glue"]
    tasks: Annotated[Several[str], Field(min_length=1)] | None = None  # None: all

    @model_validator(mode="after")
    def _probes_need_no_data(self) -> LabelsFollowUp:
        if self.finetune == "probes" and self.data is not None:
            raise ValueError("probes are built in: data is for glue")
        return self

    @property
    def task_names(self) -> list[str]:
        """The tasks, each once."""
        return list(dict.fromkeys(self.tasks or KNOWN_TASKS[self.finetune]))


class SquadFollowUp(FinetuneFollowUp):
    """On questions: `squad` is SQuAD 1.1, `squad_v2` 2.0, from their JSON files."""

    finetune: Literal["squad", "squad_v2"]
    settings: SquadSettings = SquadSettings()


class EvaluateFollowUp(Section):
    """Measure each model's perplexity on a text, or on its own held-out documents."""

    eval: Literal["perplexity"]
    corpus: str | Annotated[Several[str], Field(min_length=1)] | None = (
        None  # text files or globs, relative to the working folder
    )

    @property
    def title(self) -> str:
        """What it does, in two words."""
        return f"eval {self.eval}"

    @property
    def files(self) -> list[str] | None:
        """The text's files and globs; None for the held-out documents."""
        return _files(self.corpus)

    @property
    def n_runs(self) -> int:
        """How many runs it makes of one pre-trained model."""
        return 1


class AnalyzeFollowUp(Section):
    """Look into each model: the rank of its weights, or on a text its hidden states or what its activations do."""

    analyze: Analysis
    corpus: str | Annotated[Several[str], Field(min_length=1)] | None = None  # as for eval; not for the rank
    sequences: Positive = SEQUENCES  # of the text

    @model_validator(mode="after")
    def _rank_needs_no_text(self) -> AnalyzeFollowUp:
        if self.analyze == "rank" and self.model_fields_set & {"corpus", "sequences"}:
            raise ValueError("the rank is one of weights: no text is read, so leave out corpus and sequences")
        return self

    @property
    def title(self) -> str:
        """What it does, in two words."""
        return f"analyze {self.analyze}"

    @property
    def files(self) -> list[str] | None:
        """The text's files and globs; None for the held-out documents."""
        return _files(self.corpus)

    @property
    def n_runs(self) -> int:
        """How many runs it makes of one pre-trained model."""
        return 1


def _files(corpus: str | tuple[str, ...] | None) -> list[str] | None:
    return None if corpus is None else [corpus] if isinstance(corpus, str) else list(corpus)


def _kind(data: Any) -> str | None:
    """Which of the four a mapping describes, by the key that it has."""
    given = data if isinstance(data, dict) else dict(data) if isinstance(data, Section) else {}
    if "finetune" in given:
        return "questions" if str(given["finetune"]).startswith("squad") else "labels"
    return "evaluation" if "eval" in given else "analysis" if "analyze" in given else None


FollowUp = Annotated[
    Annotated[LabelsFollowUp, Tag("labels")]
    | Annotated[SquadFollowUp, Tag("questions")]
    | Annotated[EvaluateFollowUp, Tag("evaluation")]
    | Annotated[AnalyzeFollowUp, Tag("analysis")],
    Discriminator(
        _kind,
        custom_error_type="follow_up",
        custom_error_message="needs a key that says what to do: 'finetune' (probes, glue, squad or squad_v2), "
        "'eval' (perplexity) or 'analyze' (rank, similarity or activity)",
    ),
]
FollowUpPlan = FinetunePlan | EvaluationPlan | AnalysisPlan


def tasks_of(follow_up: FinetuneFollowUp, recipe: Recipe) -> list[TaskData]:
    """The tasks' data for a model pre-trained by `recipe`. Raises BadInput when it cannot be had or is too little."""
    if follow_up.finetune == "probes":
        built = probes.probes_for(recipe)
        found = [built[name] for name in follow_up.task_names]
    else:
        found = [_loaded(name, follow_up.data or HUB) for name in follow_up.task_names]
    for data in found:
        check_size(data, follow_up.settings)
    return found


def check(follow_up: FollowUp, recipe: Recipe) -> None:
    """Raises BadInput when what it needs for a model pre-trained by `recipe` is not there."""
    if isinstance(follow_up, FinetuneFollowUp):
        tasks_of(follow_up, recipe)
    elif follow_up.files:
        open_source(FilesCorpus(source="files", files=follow_up.files), lambda _: None)


def plans_of(parent: Run, follow_up: FollowUp, runs: Path) -> Sequence[FollowUpPlan]:
    """The runs that a follow-up makes of a finished run. Raises BadInput when its data cannot be had."""
    if isinstance(follow_up, EvaluateFollowUp):
        return [plan_perplexity(parent, follow_up.files, runs)]
    if isinstance(follow_up, AnalyzeFollowUp):
        return [plan_analysis(parent, follow_up.analyze, follow_up.files, runs, follow_up.sequences)]
    tasks = tasks_of(follow_up, recipe_of(parent))
    return plan_finetuning(parent, tasks, list(dict.fromkeys(follow_up.seeds)), follow_up.settings, runs)


@cache
def _loaded(name: str, data: str) -> TaskData:
    load = squad.load_squad if name in squad.TASKS else glue.load_glue
    return load(name, None if data == HUB else Path(data))
