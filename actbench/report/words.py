"""What a report says in sentences, all derived from its runs: what the numbers are, what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actbench.analysis.cohorts import Cohort, is_zero_shot, short_name
from actbench.analysis.comparisons import Comparison, Family
from actbench.analysis.paired import ENOUGH_PAIRS, Difference
from actbench.analysis.power import seeds_needed
from actbench.report.numbers import FEWEST_TO_PLAN, count, difference_and_interval, join, needed_seeds, plural, rough
from actbench.report.tables import LOSS_DIGITS, SCORE_DIGITS, task_name
from actbench.store import Run

SEEDS_TOLD = (
    ", in brackets how many seeds would show one so large in 80 % of studies, before correction for many comparisons"
)


@dataclass(frozen=True)
class Verdict:
    """What the intervals of one model's differences say: a sentence for pre-training, one for every task."""

    model: str
    sentences: tuple[str, ...]


def statement(runs: Sequence[Run]) -> list[str]:
    """What the finished runs are, a sentence each, from the facts they recorded."""
    pretrained = [run for run in runs if run.kind == "pretrain" and not run.imported]
    finetuned = [run for run in runs if run.kind == "finetune"]
    sentences = [_import_facts(run) for run in runs if run.imported]
    if pretrained:
        sentences += _pretraining_facts(pretrained)
    if finetuned:
        sentences += _finetuning_facts(finetuned)
    zero_shot = [run for run in runs if is_zero_shot(run)]
    if zero_shot:
        tasks = sorted({str(run.info["task"]["name"]) for run in zero_shot})
        sentences.append(f"{plural(len(zero_shot), 'zero-shot evaluation')} on {join(tasks)}.")
    return sentences


def glance(runs: Sequence[Run], found: Sequence[Cohort]) -> list[tuple[str, str]]:
    """The size of it all: (number, of what). `found` are the cohorts of the finished ones of `runs`."""
    variants = [variant for cohort in found for variant in cohort.variants]
    finished = [run for run in runs if run.status == "finished"]
    of: dict[str, set[Any]] = {
        "model": {variant.first.info["recipe"]["name"] for variant in variants},
        "activation": {variant.label for variant in variants},
        "seed": {seed for variant in variants for seed, _ in variant.runs},
        "task": {cohort.task for cohort in found if cohort.task and not cohort.is_transfer},
    }
    done = str(len(finished)) if len(finished) == len(runs) else f"{len(finished)} of {len(runs)}"
    tiles = [(done, "run finished" if len(runs) == 1 else "runs finished")]
    tiles += [(str(len(names)), plural(len(names), what).partition(" ")[2]) for what, names in of.items() if names]
    tokens = [run.summary["tokens"] for run in finished if run.kind == "pretrain" and not run.imported]
    ends = dict.fromkeys((rough(min(tokens)), rough(max(tokens)))) if tokens else {}
    return [*tiles, (" to ".join(ends), "tokens a run")] if ends else tiles


def verdicts(family: Family) -> list[Verdict]:
    """For every model: which differences are shown, which are not, what that would take, and where none can be had."""
    groups: dict[tuple[int, str], list[Comparison]] = {}
    for comparison in family.all:
        groups.setdefault((id(comparison.cohort), comparison.against), []).append(comparison)
    by_model: dict[str, list[list[Comparison]]] = {}
    for group in groups.values():
        by_model.setdefault(group[0].cohort.name, []).append(group)
    return [Verdict(model, _sentences(own, family)) for model, own in by_model.items()]


def _pretraining_facts(runs: list[Run]) -> list[str]:
    models = [run.info["model"] for run in runs]
    parameters = [model["parameters"] for model in models]
    active = [model["active_parameters"] for model in models if "active_parameters" in model]
    met = f" ({_range(active)} a token in mixtures of experts)" if active else ""
    tokens = [run.summary["tokens"] for run in runs]
    activations = {short_name(run.activation) for run in runs}
    return [
        f"{plural(len(runs), 'finished pre-training run')} with {plural(len(activations), 'activation')}: "
        f"models of {_range(parameters)} parameters{met}, trained on {_range(tokens)} tokens.",
        f"The text is {join(sorted({_corpus(run.info['recipe']['corpus']) for run in runs}))}.",
    ]


def _import_facts(run: Run) -> str:
    swap, origin = run.summary["swap"], run.info["origin"]
    where = origin["from"].removeprefix("hf:")
    told = f"{run.id} is {where}, which came ready: how it was trained is not recorded here."
    if swap is None:
        return told
    moved = f"{100 * swap['relative']:.2g} % of their spread"
    return f"{told} Its activation was swapped for {short_name(run.activation)}, which changed its logits by {moved}."


def _finetuning_facts(runs: list[Run]) -> list[str]:
    tasks = sorted({str(run.info["task"]["name"]) for run in runs})
    return [f"{plural(len(runs), 'finished fine-tuning run')} on {join(tasks)}."]


def _corpus(corpus: dict[str, Any]) -> str:
    if corpus["source"] == "builtin":
        return "the built-in corpus, English prose from the documentation of Python and its libraries"
    if corpus["source"] == "hub":
        return f"the data set {corpus['dataset']}"
    if corpus["source"] == "mixture":
        shares = _shares(corpus["parts"])
        return f"a mixture: {join([f'{share:.3g} % {_corpus(part)}' for share, part in shares])}"
    return f"the files {join(corpus['files'])}"


def _shares(parts: Sequence[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
    """What percentage of the training tokens each part of a mixture has."""
    total = sum(part["weight"] for part in parts)
    return [(100 * part["weight"] / total, part) for part in parts]


def _sentences(groups: Sequence[list[Comparison]], family: Family) -> tuple[str, ...]:
    """A verdict a group; one for all of them where each lacks an interval, for one reason."""
    found = [one.difference for group in groups for one in group if one.difference is not None]
    reasons = {difference.caution.removesuffix(": no interval") for difference in found if difference.interval is None}
    if len(groups) == 1 or len(reasons) != 1 or any(difference.interval for difference in found):
        return tuple(_verdict(group, family) for group in groups)
    about = join(list(dict.fromkeys(_about(group) for group in groups)))
    seeds = [list(one.variant.runs) for group in groups for one in group]  # of pre-training and fine-tuning
    several = any(len(own) > 1 and len({pretraining for pretraining, _ in own}) == 1 for own in seeds)
    see = "; over fine-tuning seeds alone, see: One pre-trained model each" if several else ""
    return (f"{about}: no interval of any difference ({reasons.pop()}){see}.",)


def _about(group: Sequence[Comparison]) -> str:
    cohort = group[0].cohort
    about = task_name(group[0]) if cohort.task else cohort.text or "Pre-training"
    return f"Zero-shot {about}" if cohort.is_zero_shot else about


def _verdict(group: list[Comparison], family: Family) -> str:
    cohort, against, about = group[0].cohort, group[0].against, _about(group)
    partner = cohort.called(against or family.baseline)
    if partner is None:
        return f"{about}: {cohort.why_none_called(family.baseline)}."
    about, baseline = f"{about}, against {against}" if against else about, partner.label
    compared = [(c.variant.label, c.difference) for c in group if c.difference is not None]
    loss = "validation loss" if cohort.is_pretraining else "loss"
    what = f"{loss} to {baseline}'s" if cohort.task is None else f"score to {baseline}'s, in points"
    apart = [(name, d) for name, d in compared if d.excludes_zero and not d.is_shown]
    shown = [f"{name} {_measured(cohort, d)}" for name, d in compared if d.is_shown]
    uncorrected = [f"{name} {_measured(cohort, d)}" for name, d in apart if d.n >= ENOUGH_PAIRS]
    few = [f"{name} {_measured(cohort, d)}" for name, d in apart if d.n < ENOUGH_PAIRS]
    unclear = [(name, _needs(d)) for name, d in compared if d.interval is not None and not d.excludes_zero]
    told = SEEDS_TOLD if any(needs for _, needs in unclear) else ""
    unknown: dict[str, list[str]] = {}
    for name, d in compared:
        if d.interval is None:
            unknown.setdefault(d.caution.removesuffix(": no interval"), []).append(name)
    findings = [
        *([f"difference in {what}: {join(shown)}"] if shown else []),
        *([f"not after correction for {family.tested} comparisons: {join(uncorrected)}"] if uncorrected else []),
        *([f"interval without zero, but too few seeds to conclude: {join(few)}"] if few else []),
        *(
            [f"no difference to {baseline} is shown for {join([''.join(one) for one in unclear])}{told}"]
            if unclear
            else []
        ),
        *[f"no interval for {join(names)} ({why})" for why, names in unknown.items()],
    ]
    return f"{about}: {'; '.join(findings) or f'only {baseline} was run'}."


def _measured(cohort: Cohort, difference: Difference) -> str:
    digits = LOSS_DIGITS if cohort.task is None else SCORE_DIGITS
    return f"{difference_and_interval(difference, digits)} ({plural(difference.n, 'seed')})"


def _needs(difference: Difference) -> str:
    """How many seeds it would take to see a difference as large as was measured; empty below FEWEST_TO_PLAN pairs."""
    if difference.mean is None or difference.sd is None or difference.n < FEWEST_TO_PLAN:
        return ""
    return f" ({needed_seeds(seeds_needed(difference.mean, difference.sd, difference.n))} seeds)"


def _range(values: Sequence[float]) -> str:
    low, high = count(min(values)), count(max(values))
    return low if low == high else f"{low} to {high}"
