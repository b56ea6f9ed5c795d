"""`actbench finetune`: fine-tune a pre-trained BERT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, parse_seeds, print_json, say
from actbench.cli.grid import GridOption, choices_by_task, read_grid
from actbench.errors import RunFailed

if TYPE_CHECKING:
    from actbench.config import FinetuneSettings
    from actbench.config.grid import FinetuneGrid
    from actbench.data.tasks import TaskData
    from actbench.store import Run
    from actbench.training.known_model import ImportPlan

app = typer.Typer(no_args_is_help=True, help="Fine-tune a pre-trained BERT.")

FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="RUN|hf:MODEL",
        help="The pre-trained run: a folder, name, or beginning of a name. "
        "Or hf: and the folder or hub ID of a BERT or RoBERTa.",
    ),
]
ActivationOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|{...}",
        help="With hf: this activation in every layer, as in raf or '{name: raf, degrees: [3, 2]}'.",
    ),
]
SizeOption = Annotated[
    str, typer.Option("--train-size", metavar="N|all", help="Train on so many examples, drawn by the seed.")
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        metavar="raft|official", help="Choose the epoch on a part of the training set, or on the development set."
    ),
]
KeepOption = Annotated[
    bool, typer.Option("--keep-weights", help="Keep each run's weights, for actbench eval transfer and predictions.")
]
SeedsOption = Annotated[str, typer.Option("--seeds", help="Fine-tuning seeds, as in 0-4 or 0,1,7.")]
TuneOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="What moves: full, fixed-activation, bitfit, activation, bitfit+activation, head, random-bias:K.",
    ),
]
JobsOption = Annotated[int, typer.Option(min=1, help="So many runs at once, the cores divided among them.")]
SettingOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as in lr=1e-4 or epochs=10.")
]


@app.command()
def glue(
    from_run: FromOption,
    activation: ActivationOption = None,
    tasks: Annotated[
        str,
        typer.Option(help="Comma-separated: cola,sst2,mrpc,stsb,qqp,mnli,qnli,rte,wnli; raft (all but wnli), or all."),
    ] = "all",
    data: Annotated[str, typer.Option(help="A folder with GLUE's TSV files, or 'hub' to download.")] = "hub",
    train_size: SizeOption = "all",
    seeds: SeedsOption = "0",
    tune: TuneOption = None,
    grid: GridOption = None,
    protocol: ProtocolOption = "raft",
    keep_weights: KeepOption = False,
    settings: SettingOption = None,
    jobs: JobsOption = 1,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on GLUE's tasks and score on their development sets.

    Example: actbench finetune glue --from bert-nano-raf-s0 --tasks cola,rte --data GLUE --train-size 100 --seeds 0-4

    From a published model: actbench finetune glue --from hf:bert-base-uncased --activation raf --data GLUE
    """
    from actbench.config import FinetuneSettings
    from actbench.config.grid import FinetuneGrid
    from actbench.data.glue import GROUPS, TASKS, load_glue

    chosen = _choose(tasks, list(TASKS), GROUPS)
    changed = _settings(_said(train_size, tune, protocol, keep_weights), settings, FinetuneSettings)
    request = _request((from_run, activation), seeds, changed, read_grid(grid, FinetuneGrid), jobs, runs, data)
    _run(request, [load_glue(name, None if data == "hub" else Path(data)) for name in chosen], runs, as_json)


@app.command()
def probes(
    from_run: FromOption,
    activation: ActivationOption = None,
    tasks: Annotated[str, typer.Option(help="Comma-separated: probe_swap,probe_order,probe_overlap, or all.")] = "all",
    train_size: SizeOption = "all",
    seeds: SeedsOption = "0",
    tune: TuneOption = None,
    grid: GridOption = None,
    protocol: ProtocolOption = "raft",
    keep_weights: KeepOption = False,
    settings: SettingOption = None,
    jobs: JobsOption = 1,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on built-in stand-in tasks, for a machine without GLUE. Their scores are not GLUE scores.

    Example: actbench finetune probes --from bert-nano-raf-s0 --train-size 100 --seeds 0-4
    """
    from actbench.config import FinetuneSettings
    from actbench.config.grid import FinetuneGrid
    from actbench.data.probes import TASKS, probes_for
    from actbench.evaluation.load import recipe_of
    from actbench.store import Run

    chosen = _choose(tasks, list(TASKS))
    changed = _settings(_said(train_size, tune, protocol, keep_weights), settings, FinetuneSettings)
    request = _request((from_run, activation), seeds, changed, read_grid(grid, FinetuneGrid), jobs, runs)
    loaded = probes_for(recipe_of(request.parent) if isinstance(request.parent, Run) else request.parent.recipe)
    _run(request, [loaded[name] for name in chosen], runs, as_json)


@app.command()
def squad(
    from_run: FromOption,
    activation: ActivationOption = None,
    version: Annotated[str, typer.Option(metavar="1.1|2.0", help="2.0 has questions without an answer.")] = "1.1",
    data: Annotated[
        str, typer.Option(help="A folder with train-v1.1.json and dev-v1.1.json (or v2.0), or 'hub' to download.")
    ] = "hub",
    train_size: SizeOption = "all",
    seeds: SeedsOption = "0",
    tune: TuneOption = None,
    grid: GridOption = None,
    protocol: ProtocolOption = "raft",
    keep_weights: KeepOption = False,
    settings: SettingOption = None,
    jobs: JobsOption = 1,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on SQuAD and score exact match and F1 on its development set.

    Example: actbench finetune squad --from bert-nano-raf-s0 --data SQUAD --train-size 100 --seeds 0-4
    """
    from actbench.config import SquadSettings
    from actbench.config.grid import SquadGrid
    from actbench.data.squad import VERSIONS, load_squad
    from actbench.errors import BadInput, Problem, nearest

    if version not in VERSIONS:
        raise BadInput(Problem(f"no SQuAD {version}", "--version", hint=nearest(version, list(VERSIONS))))
    changed = _settings(_said(train_size, tune, protocol, keep_weights), settings, SquadSettings)
    request = _request((from_run, activation), seeds, changed, read_grid(grid, SquadGrid), jobs, runs, data)
    _run(request, [load_squad(VERSIONS[version], None if data == "hub" else Path(data))], runs, as_json)


@dataclass(frozen=True)
class _Request:
    """What the flags ask for, checked before any data is read. `data` is its folder, or hub; None: it is built in."""

    parent: Run | ImportPlan
    seeds: list[int]
    settings: FinetuneSettings
    grid: FinetuneGrid
    data: str | None
    jobs: int


def _request(
    origin: tuple[str, str | None],
    seeds: str,
    settings: FinetuneSettings,
    grid: FinetuneGrid,
    jobs: int,
    runs: Path,
    data: str | None = None,
) -> _Request:
    wanted = parse_seeds(seeds)
    return _Request(_parent(*origin, runs), wanted, settings, grid, data, jobs)


def _parent(from_run: str, activation: str | None, runs: Path) -> Run | ImportPlan:
    from actbench.errors import BadInput, Problem
    from actbench.store import find_run
    from actbench.training.known_model import PREFIX, known_recipe, plan_import

    if from_run.startswith(PREFIX):
        changes = [] if activation is None else [f"model.activation={_spelled_out(activation)}"]
        return plan_import(known_recipe(from_run.removeprefix(PREFIX), changes), runs)
    if activation is not None:
        hint = f"--from {PREFIX}MODEL takes another; a run keeps what it was trained with"
        raise BadInput(Problem("only a model that came ready can change its activation", "--activation", hint=hint))
    return find_run(from_run, runs)


def _spelled_out(activation: str) -> str:
    """A bare name as the section it stands for."""
    return activation if activation.lstrip().startswith("{") else f"{{name: {activation}}}"


def _settings(said: dict[str, Any], changes: list[str] | None, section: type[FinetuneSettings]) -> FinetuneSettings:
    from actbench.config.resolve import Source, apply_overrides, validate

    source = Source(said, {key: f"--{key.replace('_', '-')}" for key in said})
    return validate(apply_overrides(source, changes or []), section)


def _said(train_size: str, tune: str | None, protocol: str, keep_weights: bool) -> dict[str, Any]:
    """The settings that have flags of their own, where those say more than nothing."""
    kept = {"keep_weights": True} if keep_weights else {}
    return {**_sized(train_size), **({} if tune is None else {"tune": tune}), "protocol": protocol, **kept}


def _sized(text: str) -> dict[str, Any]:
    from actbench.errors import BadInput, Problem

    if text == "all":
        return {}
    if not text.isdecimal() or len(text) > 18:
        raise BadInput(Problem(f"'{text}' is not a number of examples", "--train-size", hint="a number, or all"))
    return {"train_size": int(text)}


def _choose(text: str, known: list[str], groups: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    from actbench.errors import BadInput, Problem, nearest

    groups = groups or {"all": known}
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known and name not in groups]
    if unknown:
        near = [*known, *groups]
        raise BadInput([Problem(f"unknown task '{name}'", "--tasks", hint=nearest(name, near)) for name in unknown])
    return list(dict.fromkeys(task for name in names for task in groups.get(name, [name])))


def _run(request: _Request, tasks: list[TaskData], runs: Path, as_json: bool) -> None:
    from actbench.analysis.task_numbers import mean_over_tasks
    from actbench.cli.finetune_scores import over_tasks, print_scores
    from actbench.config.schema import BertSection
    from actbench.store import Run
    from actbench.training.finetune_plan import check_request, plan_finetuning

    parent = request.parent
    if not isinstance(parent, Run):
        from actbench.training.import_model import import_model

        model = parent.recipe.model
        assert isinstance(model, BertSection)
        check_request(tasks, request.settings, model, request.grid)
        parent = import_model(parent, say)
    plans = plan_finetuning(parent, tasks, request.seeds, request.settings, runs, request.grid)
    if not all(plan.run.manifest for plan in plans):
        if request.jobs > 1:
            from actbench.study.finetune_jobs import finetune_in_jobs

            finetune_in_jobs(plans, request.settings, request.grid, request.data, runs, request.jobs, say)
        else:
            from actbench.training.finetune import finetune

            for _ in finetune(plans, say):
                pass
    finished = [plan.run for plan in plans if plan.run.manifest]
    choices = choices_by_task(finished, request.grid)
    left = {run.id for choice in choices.values() for run in choice.left}
    results = [
        {"run": run.id, "seed": run.info["finetune_seed"], **run.summary} for run in finished if run.id not in left
    ]
    average = mean_over_tasks(results, [data.task.name for data in tasks])
    if as_json:
        tried = [{"task": task, "points": choice.facts()} for task, choice in choices.items()]
        grid = {"grid": tried} if request.grid.axes else {}
        print_json({"results": results, "over_tasks": over_tasks(tasks, average), **grid})
    else:
        print_scores(tasks, results, average, choices)
    failed = [plan.run.id for plan in plans if plan.run.manifest is None]
    if failed:
        raise RunFailed(f"failed: {', '.join(failed)}")
