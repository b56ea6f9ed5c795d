"""Runs made up for tests, written through the store: losses, coefficients and inputs look real."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from actbench.activations import create
from actbench.store import FINDINGS, Run, RunWriter, claim, identity_hash
from actbench.store.atomic import write_json

TOKENS_PER_STEP = 4096
OWN = "activation-1f2e3d4c.py"  # what a run calls its copy of a user's file
WIDTH, WIDTHS = 256, {"pooler": 64}
GAIN = {
    "gelu": 0.0,
    "relu": 0.03,
    "raf": -0.05,
    "swiglu": -0.02,
    "poly_norm": -0.04,
    "silu": 0.01,
    "poly_relu": -0.03,
}


def pretrain(
    root: Path,
    activation: str = "gelu",
    seed: int = 0,
    *,
    name: str = "bert-nano",
    layers: int = 4,
    steps: int = 200,
    options: dict[str, Any] | None = None,
    loss: float | None = None,
    finished: bool = True,
    copy_of_own: str | None = None,
    overrides: list[dict[str, Any]] | None = None,
    recipe: dict[str, Any] | None = None,
) -> Run:
    """A pre-training run. `loss` sets the final validation loss, `recipe` replaces top-level recipe keys.

    `overrides` name one slot each. `copy_of_own` is the text of the run's copy of a user's file, which `activation`
    then names as OWN:Class.
    """
    full = {**_recipe(name, activation, seed, layers, steps, options or {}), **(recipe or {})}
    full["model"]["activation_overrides"] = overrides or full["model"]["activation_overrides"]
    folder = root / f"{name}-{identity_hash({'recipe': full})}"
    final = loss if loss is not None else 5.0 + GAIN.get(activation, 0.0) + _luck(activation, seed)
    with claim(folder) as writer:
        writer.describe(_pretrain_info(full, activation))
        if copy_of_own is not None:
            (folder / OWN).write_text(copy_of_own, encoding="utf-8")
        _log(writer, final, steps, seed)
        if not finished:
            return Run(folder)
        _record_activations(folder, full["model"], seed)
        return writer.commit(_pretrain_summary(final, steps))


def finetune(
    root: Path,
    parent: Run,
    task: str = "sst2",
    finetune_seed: int = 0,
    *,
    score: float | None = None,
    stand_in: bool = True,
    settings: dict[str, Any] | None = None,
    scores: dict[str, dict[str, float]] | None = None,
    selection: float | None = None,
) -> Run:
    """One fine-tuning of `parent`; `score` sets the headline accuracy, `scores` more, by set and metric.

    `selection` is its score on the selection set.
    """
    settings = {"train_size": 300, "epochs": 5, "lr": 5e-5, "activation_lr": None, **(settings or {})}
    folder = root / f"{parent.id}-{task}-{identity_hash({'settings': settings, 'seed': finetune_seed})}"
    gain = -GAIN.get(parent.activation, 0.0) / 2
    value = (
        score if score is not None else 0.75 + gain + _luck(parent.activation + task, 3 * parent.seed + finetune_seed)
    )
    shared = {key: parent.info[key] for key in ("recipe", "data", "model", "hardware", "environment")}
    facts = {"name": task, "kind": "classification", "metrics": ["accuracy"], "headline": "accuracy"}
    with claim(folder) as writer:
        writer.describe(
            {
                "kind": "finetune",
                "parent": parent.id,
                **shared,
                "task": {**facts, "stand_in": stand_in},
                "finetune": settings,
                "finetune_seed": finetune_seed,
            }
        )
        return writer.commit(
            {
                "task": task,
                "scores": scores or {"validation": {"accuracy": value}},
                "headline": {"metric": "accuracy", "value": value},
                "selection": selection,
                "epochs": 5,
                "best_epoch": 3,
                "seconds": 12.5,
                "train_examples": settings["train_size"],
                "trained_parameters": 434_816,
                "trained_parameters_without_head": 434_686,
            }
        )


def transfer(root: Path, parent: Run, score: float) -> Run:
    """A fine-tuned run's accuracy on another task's data."""
    shared = ("recipe", "data", "model", "hardware", "environment", "finetune", "finetune_seed")
    about = {key: parent.info[key] for key in shared}
    name = f"{parent.info['task']['name']} to other"
    with claim(root / f"{parent.id}-other") as writer:
        writer.describe(
            {
                "kind": "evaluate",
                "measure": "transfer",
                "parent": parent.id,
                **about,
                "task": {**parent.info["task"], "name": name},
            }
        )
        return writer.commit(
            {
                "task": name,
                "scores": {"test": {"accuracy": score}},
                "headline": {"metric": "accuracy", "value": score},
                "seconds": 1.0,
            }
        )


def perplexity(root: Path, parent: Run) -> Run:
    """A pre-trained run's loss on a text."""
    shared = ("recipe", "model", "hardware", "environment")
    with claim(root / f"{parent.id}-perplexity") as writer:
        about = {"kind": "evaluate", "parent": parent.id, "data": {"text": "some text", "hash": "c0ffee13"}}
        writer.describe({**about, **{key: parent.info[key] for key in shared}})
        loss = parent.summary["validation_loss"] + 0.1
        headline = {"metric": "perplexity", "value": math.exp(loss)}
        found = {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": None}
        return writer.commit({**found, "headline": headline, "seconds": 1.0})


def similarity(root: Path, parent: Run) -> Run:
    """A pre-training run's analysis of hidden states, in which those of neighbours are alike."""
    shared = ("recipe", "data", "model", "hardware", "environment")
    depths = range(parent.info["recipe"]["model"]["n_layers"] + 1)
    cosines = [[0.8 ** abs(i - j) for j in depths] for i in depths]
    with claim(root / f"{parent.id}-similarity") as writer:
        about = {"kind": "analyze", "analysis": {"name": "similarity", "sequences": 1}, "parent": parent.id}
        writer.describe({**about, **{key: parent.info[key] for key in shared}})
        write_json(writer.folder / FINDINGS, {"text": "a text", "sequences": 1, "tokens": 8, "cosines": cosines})
        return writer.commit({"headline": {"metric": "mean cosine of adjacent layers", "value": 0.8}, "seconds": 1.0})


def _luck(who: str, seed: int) -> float:
    """What a seed does to everyone, and a little that it does to one alone."""
    return 0.01 * math.sin(7 * seed) + 0.004 * math.sin(len(who) * (seed + 1))


def _recipe(name: str, activation: str, seed: int, layers: int, steps: int, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "seed": seed,
        "model": {
            "family": "bert",
            "n_layers": layers,
            "d_model": 64,
            "n_heads": 4,
            "d_ff": WIDTH,
            "activation": {"name": activation, **options},
            "activation_overrides": [],
        },
        "corpus": {"source": "builtin"},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 2048},
        "batch": {"sequences": 32, "length": 128, "accumulate": 1},
        "budget": {"steps": steps},
        "optimizer": {"lr": 1e-3, "activation": {"lr_multiplier": None}},
        "hardware": {"device": "auto", "precision": "auto", "compile": "auto"},
        "logging": {"every_steps": 5},
    }


def _pretrain_info(recipe: dict[str, Any], activation: str) -> dict[str, Any]:
    learnable = {"raf": 40, "poly_norm": 16, "poly_relu": 16}.get(activation, 0)
    return {
        "kind": "pretrain",
        "recipe": recipe,
        "data": {"corpus": "builtin", "hash": "c0ffee12", "documents": 5120, "train_tokens": 3_400_000},
        "model": {
            "parameters": 434_816 + learnable,
            "activation_parameters": learnable,
            "parameters_ratio_to_gelu": 1 + learnable / 434_816,
            "flops_per_token": 2.6e6,
        },
        "hardware": {"device": "cpu", "precision": "fp32", "compiled": False, "threads": 2},
        "environment": {
            "actbench": "0.1.0",
            "python": "3.11.2",
            "libraries": {"torch": "2.12.0", "numpy": "2.3.0"},
        },
    }


def _log(writer: RunWriter, final: float, steps: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for step in range(5, steps + 1, 5):
        level = final + 3.2 * math.exp(-6 * step / steps) - 3.2 * math.exp(-6)
        where = {"step": step, "tokens": step * TOKENS_PER_STEP, "seconds": step * (0.31 + 0.01 * seed)}
        loss = level + 0.06 * float(generator.normal())
        rate = {"lr": 1e-3 * (1 - step / steps), "tokens_per_second": 13_000.0}
        writer.log({"kind": "train", **where, "loss": loss, **rate})
        if step % 20 == 0:
            writer.log({"kind": "validation", **where, "loss": level, "perplexity": math.exp(level)})


def _pretrain_summary(final: float, steps: int) -> dict[str, Any]:
    return {
        "steps": steps,
        "tokens": steps * TOKENS_PER_STEP,
        "seconds": steps * 0.31,
        "train_loss": final + 0.02,
        "validation_loss": final,
        "validation_perplexity": math.exp(final),
        "tokens_per_second": 13_000.0,
        "parameters": 434_816,
        "peak_memory_bytes": 512_000_000,
    }


def _record_activations(folder: Path, model: dict[str, Any], seed: int) -> None:
    names = [f"layers.{i}" for i in range(model["n_layers"])]
    generator = np.random.default_rng(100 + seed)
    activations = dict.fromkeys(names, model["activation"]) | {"pooler": {"name": "tanh"}}
    for override in model["activation_overrides"]:
        activations[override["slot"]] = {key: value for key, value in override.items() if key != "slot"}
    slots = [_slot(folder, name, activations[name], depth, generator) for depth, name in enumerate(names)]
    slots.append(_slot(folder, "pooler", activations["pooler"], 0, generator))
    (folder / "activations.json").write_text(json.dumps({"slots": slots}), encoding="utf-8")
    samples = {
        name: generator.normal(-0.3 * depth, 0.8 + 0.1 * depth, 4096).astype(np.float32)
        for depth, name in enumerate(names)
    }
    save_file(samples, folder / "activation_inputs.safetensors")


def _slot(
    folder: Path, name: str, activation: dict[str, Any], depth: int, generator: np.random.Generator
) -> dict[str, Any]:
    options = {key: value for key, value in activation.items() if key != "name"}
    source = activation["name"]
    if ":" in source:  # a user's own file: only the run's copy of it is sure to exist
        source = f"{folder / source}"
    width = WIDTHS.get(name, WIDTH)
    initial = {key: parameter.tolist() for key, parameter in create(source, width=width, **options).named_parameters()}
    final = {
        key: (np.asarray(value) * (1 + 0.1 * (depth + 1) * generator.normal(size=np.shape(value)))).tolist()
        for key, value in initial.items()
    }
    return {"name": name, "activation": activation, "width": width, "initial": initial, "final": final}
