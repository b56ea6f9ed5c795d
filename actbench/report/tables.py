"""The tables of results: what each activation reached. How sure a difference is, difference_tables.py says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from actbench.analysis.cohorts import Variant
from actbench.analysis.comparisons import Comparison, Family
from actbench.analysis.paired import Spread, spread
from actbench.config.tuning import FULL
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.store import Run

LOSS_DIGITS, SCORE_DIGITS = 4, 2


def pretraining_table(family: Family) -> Table:
    """A row an activation and model: size, validation loss over seeds. The notes name what is left out."""
    sparse = any("active_parameters" in comparison.variant.first.info["model"] for comparison in family.pretraining)
    active = ("active",) if sparse else ()
    heads = (
        *columns("model", "activation"),
        *columns("parameters", *active, "× gelu", "seeds", "validation loss", "perplexity", numeric=True),
    )
    title = "Pre-training: loss on held-out text, mean ± sd over seeds; lower is better"
    rows = tuple(_pretraining_row(comparison, sparse=sparse) for comparison in family.pretraining)
    said = ("Active: the parameters that one token meets, so of experts those of its own.",) if sparse else ()
    notes = (*said, *table_notes(family, "pretrain", family.pretraining))
    return Table(title, heads, rows, notes, "pretraining")


def validation_sets_table(family: Family) -> Table:
    """A row an activation, model and named validation set: the loss over seeds, when training ended."""
    heads = (*columns("model", "set", "activation"), *columns("seeds", "loss", "perplexity", numeric=True))
    title = "Pre-training: loss on named validation sets, mean ± sd over seeds; lower is better"
    rows = tuple(
        _validation_set_row(comparison, name)
        for comparison in family.pretraining
        for name in _validation_sets(comparison.variant)
    )
    return Table(title, heads, rows, (), "validation-sets")


def finetuning_table(family: Family) -> Table:
    """A row an activation, model and task: the headline score over seeds. The notes name what is left out."""
    heads = (
        *columns("model", "task", "activation", "metric"),
        *columns("examples", "seeds", "runs", "score", numeric=True),
        *columns("other scores"),
    )
    title = "Fine-tuning: headline score in percent, mean ± sd over pre-training seeds; higher is better"
    rows = tuple(_finetuning_row(comparison) for comparison in family.finetuning)
    said = (*_chosen(family), *_trained(family.finetuning), *table_notes(family, "finetune", family.finetuning))
    return Table(title, heads, rows, said, "finetuning")


def evaluation_table(family: Family) -> Table:
    """A row an activation, model and text: the loss over seeds. The notes name what is left out."""
    heads = (
        *columns("model", "text", "activation"),
        *columns("seeds", "loss", "perplexity", "bits a byte", numeric=True),
    )
    title = "Evaluation: loss on whole texts, mean ± sd over seeds; lower is better"
    rows = tuple(_evaluation_row(comparison) for comparison in family.evaluation)
    return Table(title, heads, rows, table_notes(family, "evaluate", family.evaluation), "evaluation")


def task_name(comparison: Comparison) -> str:
    """The task as a reader should see it: a stand-in is called one, and of zero-shot tasks a subset."""
    info = comparison.variant.first.info
    if info["task"]["stand_in"]:
        return f"{comparison.cohort.task} (stand-in)"
    subset = comparison.cohort.is_zero_shot and info["data"].get("subset")
    return f"{comparison.cohort.task} (subset)" if subset else str(comparison.cohort.task)


def _pretraining_row(comparison: Comparison, *, sparse: bool) -> Row:
    variant, runs = comparison.variant, list(comparison.variant.runs.values())
    model = variant.first.info["model"]
    active = model.get("active_parameters", model["parameters"])
    perplexity = fmean(run.summary["validation_perplexity"] for run in runs)
    cells = (
        comparison.cohort.name,
        variant.label,
        numbers.count(model["parameters"]),
        *([numbers.count(active)] if sparse else []),
        f"{model['parameters_ratio_to_gelu']:.4f}",
        str(comparison.value.n),
        numbers.mean_and_sd(comparison.value, LOSS_DIGITS),
        f"{perplexity:.2f}",
    )
    values = {
        "model": comparison.cohort.name,
        "activation": variant.label,
        "parameters": model["parameters"],
        "active_parameters": active,
        "parameters_ratio_to_gelu": model["parameters_ratio_to_gelu"],
        "validation_loss": spread_values(comparison.value),
        "validation_perplexity": perplexity,
    }
    return Row(cells, values, variant.ids)


def _validation_sets(variant: Variant) -> dict[str, list[dict[str, Any]]]:
    """What was measured on each set, by its name; two texts of one name are told apart by the second's hash."""
    texts: dict[str, str] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for run in variant.runs.values():
        for name, measured in run.summary.get("validation_sets", {}).items():
            text = str(run.info["data"]["validation_sets"][name]["hash"])
            called = name if texts.setdefault(name, text) == text else f"{name} #{text[:4]}"
            found.setdefault(called, []).append(measured)
    return found


def _validation_set_row(comparison: Comparison, name: str) -> Row:
    variant = comparison.variant
    found = _validation_sets(variant)[name]
    finite = None not in [one["loss"] for one in found]
    loss = spread([one["loss"] for one in found]) if finite else None
    perplexity = fmean(one["perplexity"] for one in found) if finite else None
    cells = (
        comparison.cohort.name,
        name,
        variant.label,
        str(len(found)),
        numbers.NOTHING if loss is None else numbers.mean_and_sd(loss, LOSS_DIGITS),
        numbers.NOTHING if perplexity is None else f"{perplexity:.2f}",
    )
    values = {
        "model": comparison.cohort.name,
        "set": name,
        "activation": variant.label,
        "loss": None if loss is None else spread_values(loss),
        "perplexity": perplexity,
    }
    return Row(cells, values, variant.ids)


def _finetuning_row(comparison: Comparison) -> Row:
    variant, first = comparison.variant, comparison.variant.first
    task, metric = first.info["task"], str(first.summary["headline"]["metric"])
    others = other_scores(list(variant.runs.values()), metric)
    cells = (
        comparison.cohort.name,
        task_name(comparison),
        variant.label,
        metric,
        f"{first.summary['train_examples']:,}",
        str(comparison.value.n),
        str(len(variant.runs)),
        numbers.mean_and_sd(comparison.value, SCORE_DIGITS),
        ", ".join(f"{name} {numbers.plain(value, SCORE_DIGITS)}" for name, value in others.items()) or numbers.NOTHING,
    )
    values = {
        "model": comparison.cohort.name,
        "task": comparison.cohort.task,
        "stand_in": bool(task["stand_in"]),
        "activation": variant.label,
        "metric": metric,
        "train_examples": first.summary["train_examples"],
        "trained_parameters": first.summary.get("trained_parameters"),  # None: of a version before modes, all
        "score_percent": spread_values(comparison.value),
        "other_scores_percent": others,
    }
    return Row(cells, values, variant.ids)


def other_scores(runs: Sequence[Run], headline: str) -> dict[str, float]:
    """Means over runs, in percent, of all but the headline: by metric, and set where there are several."""
    found: dict[str, list[float]] = {}
    for run in runs:
        sets = run.summary["scores"]
        for number, (name, scores) in enumerate(sets.items()):
            for metric, value in scores.items():
                if number or metric != headline:
                    found.setdefault(metric if len(sets) == 1 else f"{name} {metric}", []).append(100 * value)
    return {name: fmean(values) for name, values in found.items()}


def _chosen(family: Family) -> Iterator[str]:
    """Which settings may differ between activations, and why."""
    if family.chosen:
        chosen = "chosen on the selection set where several were tried"
        how = chosen if family.searched else "as given for each activation and mode"
        yield f"{numbers.join(family.chosen)}: {how}, see the table of settings."


def _trained(found: Sequence[Comparison]) -> Iterator[str]:
    """How many numbers each variant trained that did not train all."""
    said: dict[str, dict[str, None]] = {}
    for comparison in found:
        run = comparison.variant.first
        if run.info["finetune"].get("tune", FULL) != FULL:
            count = numbers.count(run.summary["trained_parameters_without_head"])
            said.setdefault(comparison.variant.label, {})[count] = None
    if said:
        yield "Numbers trained besides the head: " + ", ".join(f"{x} {' or '.join(n)}" for x, n in said.items()) + "."


def _evaluation_row(comparison: Comparison) -> Row:
    variant, runs = comparison.variant, list(comparison.variant.runs.values())
    found = {key: [run.summary[key] for run in runs] for key in ("perplexity", "bits_per_byte")}
    perplexity, bits = (None if None in values else fmean(values) for values in found.values())
    cells = (
        comparison.cohort.name,
        str(comparison.cohort.text),
        variant.label,
        str(comparison.value.n),
        numbers.mean_and_sd(comparison.value, LOSS_DIGITS),
        numbers.NOTHING if perplexity is None else f"{perplexity:.2f}",
        numbers.NOTHING if bits is None else f"{bits:.4f}",
    )
    values = {
        "model": comparison.cohort.name,
        "text": comparison.cohort.text,
        "activation": variant.label,
        "loss": spread_values(comparison.value),
        "perplexity": perplexity,
        "bits_per_byte": bits,
    }
    return Row(cells, values, variant.ids)


def spread_values(value: Spread) -> dict[str, Any]:
    """A spread for JSON."""
    return {"mean": value.mean, "sd": value.sd, "seeds": value.n}


def _kind(run: Run) -> str:
    return str(run.info["measure"]) if run.kind == "evaluate" and "task" in run.info else run.kind


def table_notes(family: Family, kind: str, found: Sequence[Comparison]) -> tuple[str, ...]:
    """What a reader must know besides the cells: nothing is left out in silence."""
    said = []
    for cohort in {id(c.cohort): c.cohort for c in found}.values():
        place = ", ".join(part for part in (cohort.name, cohort.task, cohort.text) if part)
        if cohort.called(family.baseline) is None:
            said.append(f"{place}: {cohort.why_none_called(family.baseline)}.")
        repeats = [run.id for variant in cohort.variants for run in variant.repeats]
        if repeats:
            said.append(f"{place}: a newer run of the same recipe and seed stands for {', '.join(repeats)}.")
    unfinished = [run for run in family.unfinished if _kind(run) == kind]
    if unfinished:
        said.append("Left out, not finished: " + ", ".join(f"{r.id} ({r.status})" for r in unfinished) + ".")
    return tuple(said)
