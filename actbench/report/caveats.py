"""What to bear in mind when reading a report's numbers: a sentence a fact, from what the runs recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actbench.analysis.cohorts import Cohort, Variant, cohorts, is_transfer, is_zero_shot, split_finished
from actbench.analysis.comparisons import scores
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.report.numbers import join, plural, signed
from actbench.store import Run

# Below these a run is far from the papers': their smallest models and shortest trainings are larger.
PAPER_PARAMETERS, PAPER_TOKENS = 100e6, 1e9
AS_RELEASED = "as_released"  # model.ffn_in_std
MATCHED = 0.01  # sizes that differ by less are called matched

# What may differ between runs of one comparison, which have device and precision in common.
MACHINE = {
    "processor": ("environment", "processor"),
    "number of cores": ("environment", "cores"),
    "GPU": ("environment", "gpu"),
    "number of threads": ("hardware", "threads"),
    "number of devices": ("hardware", "devices"),
    "compiling": ("hardware", "compiled"),
    "platform": ("environment", "platform"),
    "version of Python": ("environment", "python"),
    "version of actbench": ("environment", "actbench"),
    "versions of libraries": ("environment", "libraries"),
}


def caveats(runs: Sequence[Run], baseline: str, chosen: Sequence[str] = ()) -> list[str]:
    """What is missing, small, uneven or stands in for something else; nothing where nothing is.

    `chosen` are the fine-tuning settings of a grid.
    """
    finished, unfinished = split_finished(runs)
    found = cohorts(finished, chosen)
    makers: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: _unfinished(unfinished),
        lambda: _few_seeds(found),
        lambda: _scale(finished),
        lambda: _stand_ins(finished),
        lambda: _nothing_learned(found),
        lambda: _subsets(finished),
        lambda: _protocols(finished),
        lambda: _sizes(found, baseline),
        lambda: _started_apart(finished),
        lambda: _machines(found),
        lambda: _rates(found),
        lambda: _searches(found, baseline),
    )
    return [sentence for make in makers for sentence in make()]


def _unfinished(runs: Sequence[Run]) -> Iterator[str]:
    if runs:
        count = Counter(run.status for run in runs)
        how = join([f"{number} {status}" for status, number in sorted(count.items())])
        yield (
            f"{plural(len(runs), 'run')} not finished and left out of every number ({how}). Where an activation fails "
            "often, what is left of it is a selection."
        )


def _few_seeds(found: Sequence[Cohort]) -> Iterator[str]:
    single: list[str] = []
    fewest: dict[str, int] = {}
    for cohort in found:
        seeds = {variant.label: len({seed for seed, _ in variant.runs}) for variant in cohort.variants}
        alone = [label for label, number in seeds.items() if number == 1]
        single += [cohort.name] if len(alone) == len(seeds) else [f"{label} of {cohort.name}" for label in alone]
        for number in seeds.values():
            if 1 < number < ENOUGH_PAIRS:
                fewest[cohort.name] = min(number, fewest.get(cohort.name, number))
    single = list(dict.fromkeys(single))
    few = [f"{name} ({plural(number, 'seed')})" for name, number in fewest.items()]
    if single:
        yield f"One seed says nothing of chance: with another, the order may be another. This is so for {join(single)}."
    if few:
        yield (
            f"Fewer than {ENOUGH_PAIRS} pre-training seeds are too few to conclude from: no test of so few pairs shows "
            f"anything at 5 % but by assuming a law. This is so for {join(few)}."
        )


def _scale(runs: Sequence[Run]) -> Iterator[str]:
    pretrained = [run for run in runs if run.kind == "pretrain" and not run.imported]
    if pretrained and (
        max(run.info["model"]["parameters"] for run in pretrained) < PAPER_PARAMETERS
        or max(run.summary["tokens"] for run in pretrained) < PAPER_TOKENS
    ):
        yield (
            "At this scale the numbers show that the comparison works and what it finds here; they are not the papers' "
            "results, whose models have a hundred million parameters and more and saw billions of tokens."
        )


def _stand_ins(runs: Sequence[Run]) -> Iterator[str]:
    names = sorted({run.info["task"]["name"] for run in _finetuned(runs) if run.info["task"]["stand_in"]})
    if names:
        be, what = ("is a stand-in", "data set") if len(names) == 1 else ("are stand-ins", "data sets")
        yield (
            f"{join(names)} {be}, not the published {what}: the scores show that fine-tuning runs, and cannot be set "
            "beside published ones. Chance is an accuracy of 50 % and a correlation of 0."
        )
    if any(run.kind == "pretrain" and _is_built_in(run.info["recipe"]["corpus"]) for run in runs):
        yield "The built-in corpus stands in for real text: it is documentation, of which there is little."


def _nothing_learned(found: Sequence[Cohort]) -> Iterator[str]:
    by_task: dict[str, list[float]] = {}
    for cohort in found:
        if cohort.variants[0].first.kind == "finetune":
            own = by_task.setdefault(str(cohort.task), [])
            own += [score for variant in cohort.variants for score in scores(variant).values()]
    alike = [task for task, values in by_task.items() if len(values) > 2 and len(set(values)) == 1]
    if alike:
        yield (
            f"All runs have the same score {join([f'on {task}' for task in alike])}: they answer alike whatever is "
            "asked, or nearly so. What shows no difference here may show one in models that have learned more."
        )


def _is_built_in(corpus: dict[str, Any]) -> bool:
    """Whether the text, or a part of a mixture's, is the built-in corpus."""
    return any(part["source"] == "builtin" for part in corpus.get("parts", [corpus]))


def _subsets(runs: Sequence[Run]) -> Iterator[str]:
    tuned = _finetuned(runs)
    sizes = sorted({int(run.summary["train_examples"]) for run in tuned if run.info["finetune"].get("train_size")})
    if sizes:
        numbers = " to ".join(dict.fromkeys(f"{size:,}" for size in (sizes[0], sizes[-1])))
        yield f"Fine-tuning saw {numbers} training examples of a task, by choice, not all there are."
    told = [*tuned, *(run for run in runs if is_transfer(run))]
    cut = sorted({run.info["task"]["name"] for run in told if run.info["data"].get("subset")})
    if cut:
        yield f"The data of {join(cut)} is a part of the published set: scores cannot be set beside published ones."
    scored = [run for run in runs if is_zero_shot(run)]
    parts = sorted({_part(run) for run in scored if run.info["data"]["subset"]})
    if parts:
        yield f"Zero-shot scores of a part of the published items cannot be set beside published ones: {join(parts)}."
    cut_off = sorted({run.info["task"]["name"] for run in scored if run.summary.get("cut_contexts")})
    if cut_off:
        yield f"Some contexts of {join(cut_off)} are longer than a model looks back, and were cut off at the left."


def _part(run: Run) -> str:
    """How much of a task's items, and of BLiMP's paradigms, a zero-shot run is scored on."""
    data = run.info["data"]
    paradigms = f", {data['paradigms']} of {data['of_paradigms']} paradigms" if "paradigms" in data else ""
    return f"{run.info['task']['name']} ({data['items']:,} of {data['of']:,}{paradigms})"


def _protocols(runs: Sequence[Run]) -> Iterator[str]:
    chosen = [run for run in _finetuned(runs) if run.info["finetune"].get("protocol") == "official"]
    if chosen:
        names = join(sorted({run.info["task"]["name"] for run in chosen}))
        yield (
            f"The score on {names} chose its own epoch (protocol official): it is the best of as many looks at the "
            "development set as there were epochs, which flatters every activation, and the noisier one most."
        )


def _sizes(found: Sequence[Cohort], baseline: str) -> Iterator[str]:
    for cohort in found:
        partner = cohort.called(baseline)
        if cohort.is_pretraining and partner is not None:
            ratios = {variant.label: _parameters(variant) / _parameters(partner) for variant in cohort.variants}
            uneven = [f"{n} {signed(100 * (r - 1), 1)} %" for n, r in ratios.items() if abs(r - 1) > MATCHED]
            if uneven:
                yield (
                    f"{cohort.name}: sizes are not matched. In parameters, beside {baseline}: {join(uneven)}. A "
                    "difference there is one of size, too."
                )


def _started_apart(runs: Sequence[Run]) -> Iterator[str]:
    pretrained = [run for run in runs if run.kind == "pretrain"]
    started = {str(run.info["recipe"]["name"]): run.info["recipe"]["model"].get("ffn_in_std") for run in pretrained}
    names = sorted(name for name, std in started.items() if std == AS_RELEASED)
    if names:
        yield (
            f"{join(names)}: the weights into the feed-forward blocks start as RAFT's code released them, smaller "
            "before a rational function. A pair there differs in more than the activation."
        )


def _machines(found: Sequence[Cohort]) -> Iterator[str]:
    by_kind: dict[tuple[str, ...], list[str]] = {}
    for cohort in found:
        runs = [run for variant in cohort.variants for run in variant.runs.values()]
        differing = tuple(name for name, path in MACHINE.items() if len({repr(_fact(run, *path)) for run in runs}) > 1)
        if differing:
            by_kind.setdefault(differing, []).append(
                " ".join(part for part in (cohort.name, cohort.task, cohort.text) if part)
            )
    for differing, names in by_kind.items():
        yield (
            f"Runs that are compared differ in {join(differing)}: sums round differently there, and speeds do not "
            f"compare. This is so for {join(names)}."
        )


def _rates(found: Sequence[Cohort]) -> Iterator[str]:
    by_model: dict[str, set[float]] = {}
    for cohort in found:
        if cohort.is_pretraining and len(cohort.variants) > 1:
            recipe = cohort.variants[0].first.info["recipe"]
            by_model.setdefault(recipe["name"], set()).add(float(recipe["optimizer"]["lr"]))
    rates = {rate for of_model in by_model.values() if len(of_model) == 1 for rate in of_model}
    if rates:
        values = join([f"{rate:g}" for rate in sorted(rates)])
        yield (
            f"Every activation of a model was trained at the same learning rate ({values}). If that was chosen for one "
            "of them, the others are at a disadvantage that no number of seeds shows."
        )


def _searches(found: Sequence[Cohort], baseline: str) -> Iterator[str]:
    """Where a variant's settings were chosen among more points than the baseline's."""
    uneven: dict[tuple[str, str], dict[str, None]] = {}
    for cohort in found:
        partner = cohort.called(baseline)
        few = _points(partner) if partner is not None else 0
        for variant in cohort.variants:
            if few and _points(variant) > few:
                between = plural(few, "point"), f"{variant.label} among {_points(variant)}"
                uneven.setdefault(between, {})[f"{cohort.task} of {cohort.name}"] = None
    for (given, more), places in uneven.items():
        yield (
            f"The selection set chose the settings of {baseline} among {given} of a grid, and those of {more}, on "
            f"{join(list(places))}. Who tries more points finds a better one by chance, too: a part of the difference "
            "may be that of the search."
        )


def _points(variant: Variant) -> int:
    """The most points that any of its models was given; 0 without a grid."""
    return max((choice.points for choice in variant.choices.values()), default=0)


def _finetuned(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.kind == "finetune"]


def _parameters(variant: Variant) -> int:
    return int(variant.first.info["model"]["parameters"])


def _fact(run: Run, section: str, key: str) -> Any:
    return run.info.get(section, {}).get(key)
