"""How fast this machine trains a model: as finished runs measured it, or from FLOPs where there are none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

from actbench.analysis.cohorts import OWN_SETTINGS, finetune_settings
from actbench.config.resolve import read_recorded_model, read_recorded_settings
from actbench.config.schema import BatchSection
from actbench.config.section import Section
from actbench.errors import BadInput
from actbench.store import Run, environment
from actbench.store.index import Record, records
from actbench.study.follow_ups import FinetuneFollowUp
from actbench.training.hardware import SINGLE, Hardware
from actbench.training.known_model import ImportPlan
from actbench.training.peak import Peak, measured_peak
from actbench.training.plan import Plan

# Shares of the matrix-product peak that a step reaches: 40 and 49 % were measured for the nano recipes on two cores
# (docs/performance.md); uncompiled steps took 1.9 times as long (docs/log.md).
COMPILED, UNCOMPILED = 0.4, 0.2
# Until the first compiled step is done: of a model that is new here, and of one whose code is in the compiler's cache
# (nano recipes, one core: docs/log.md).
COMPILING_S, COMPILED_BEFORE_S = 30.0, 10.0

Basis = Literal["measured", "measured with another activation", "from FLOPs"]


@dataclass(frozen=True)
class Speed:
    """What training a model takes: seconds until it is up to speed, and tokens a second; and how that is known."""

    tokens_per_second: float
    once_seconds: float
    basis: Basis


class Speeds:
    """Looks speeds up among the finished runs under `runs` that this machine made.

    A CPU's threads are taken to be equally fast however many a run has, so all of them do as much with any number of
    jobs.
    """

    def __init__(self, runs: Path):
        self.peaks: dict[str, Peak] = {}  # that were measured, by precision
        self._runs = runs
        self._known: dict[str, Speed] = {}

    def of(self, plan: Plan | ImportPlan) -> Speed:
        """The speed of a planned run: the median of runs like it, with its activation or else with any."""
        key = json.dumps([_size(plan), _model(plan)])
        if key in self._known:
            return self._known[key]
        found = self._measured(plan)
        self._known[key] = found or self._from_flops(plan, COMPILED_BEFORE_S)
        return found or self._from_flops(plan, COMPILING_S)

    def finetuning_seconds(self, plan: Plan | ImportPlan, task: str, follow_up: FinetuneFollowUp) -> float | None:
        """The median of what finished fine-tunings like this one took; None where there are none."""
        differ = {*OWN_SETTINGS, *follow_up.grid.axes} - {"tune"}
        settings = follow_up.settings.model_dump(mode="json", exclude=differ)
        found = []
        for record in self._finished:
            if (
                record.facts["kind"] == "finetune"
                and record.facts["task"] == task
                and _recorded_size(record) == _size(plan)
            ):
                run = Run(record.folder)
                used = {key: value for key, value in finetune_settings(run).items() if key not in differ}
                if used == settings and (gain := self._gain(run, plan.hardware, ("device",))):
                    found.append(run.summary["seconds"] / gain)
        return median(found) if found else None

    @cached_property
    def _finished(self) -> list[Record]:
        return [record for record in records(self._runs)[0] if record.status == "finished"]

    @cached_property
    def _environment(self) -> dict[str, Any]:
        return environment()

    def _measured(self, plan: Plan | ImportPlan) -> Speed | None:
        rates: dict[bool, list[float]] = {True: [], False: []}  # by whether the activation is the same
        onces: dict[bool, list[float]] = {True: [], False: []}
        for record in self._finished:
            if record.facts["kind"] != "pretrain" or _recorded_size(record) != _size(plan):
                continue
            run = Run(record.folder)
            if run.imported:
                continue
            alike = ("device", "precision", "compiled", *SINGLE)
            summary, gain = run.summary, self._gain(run, plan.hardware, alike)
            if gain and summary["tokens_per_second"]:
                same = _said(read_recorded_model(run.info["recipe"]["model"], run.id)) == _model(plan)
                rates[same].append(summary["tokens_per_second"] * gain)
                onces[same].append(max(0.0, summary["seconds"] - summary["tokens"] / summary["tokens_per_second"]))
        if rates[True]:
            return Speed(median(rates[True]), median(onces[True]), "measured")
        if rates[False]:
            return Speed(median(rates[False]), median(onces[False]), "measured with another activation")
        return None

    def _gain(self, run: Run, hardware: Hardware, alike: tuple[str, ...]) -> float:
        """How many times as many threads there are now as the run had; 0 when another machine or device made it."""
        was, now = SINGLE | run.info["hardware"], SINGLE | hardware.facts()
        machine = run.info["environment"]
        if any(machine.get(key) != self._environment.get(key) for key in ("processor", "cores", "gpu")):
            return 0.0
        if any(was.get(key) != now[key] for key in alike):
            return 0.0
        return now["threads"] / (was["threads"] * was["devices"]) if now["device"] == "cpu" else 1.0

    def _from_flops(self, plan: Plan | ImportPlan, compiling: float) -> Speed:
        hardware = plan.hardware
        if hardware.precision not in self.peaks:
            self.peaks[hardware.precision] = measured_peak(hardware.precision, hardware.device)
        share = COMPILED if hardware.compiled else UNCOMPILED
        devices = hardware.devices if hardware.device == "cuda" else 1  # on a CPU processes share the cores
        rate = devices * share * self.peaks[hardware.precision].flops / plan.model["flops_per_token"]
        rate *= 3 / 4 if plan.recipe.looks_ahead else 1  # a backward pass is two forward ones, and there is one more
        return Speed(rate, compiling if hardware.compiled else 0.0, "from FLOPs")


def _model(plan: Plan | ImportPlan) -> dict[str, Any]:
    return _said(plan.recipe.model)


def _size(plan: Plan | ImportPlan) -> list[dict[str, Any]]:
    """All that decides a step's size, without defaults: the model, but for its activations, and the batch."""
    return [_without_activations(_model(plan)), _said(plan.recipe.batch)]


def _recorded_size(record: Record) -> list[dict[str, Any]] | None:
    """The same of a run; None where another version of actbench recorded it otherwise."""
    recipe, where = next(iter(record.sections)), str(record.folder)
    try:
        model = read_recorded_model(recipe.get("model"), where)
        batch = read_recorded_settings(recipe.get("batch"), BatchSection, where)
    except BadInput:
        return None
    return [_without_activations(_said(model)), _said(batch)]


def _without_activations(model: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key not in ("activation", "activation_overrides")}


def _said(section: Section) -> dict[str, Any]:
    """A section without what is the default: an older run's record lacks keys that are known now."""
    return section.model_dump(mode="json", exclude_defaults=True)
