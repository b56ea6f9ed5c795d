"""Two runs side by side: what was asked for, what they ran on, what came out, and whether they are a pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from actbench.analysis.cohorts import cohorts, data_hash, finetune_settings, seed_key, setup
from actbench.config.resolve import read_recorded
from actbench.config.tuning import FULL
from actbench.errors import BadInput, Problem
from actbench.store import Run
from actbench.store.index import flat


@dataclass(frozen=True)
class Differing:
    """A dotted key whose value is not the same in both; None where a run has none."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Measured:
    """A number of both runs: a result by its key, or the validation loss at a step."""

    key: str
    a: float
    b: float

    @property
    def difference(self) -> float:
        """B minus A."""
        return self.b - self.a


@dataclass(frozen=True)
class RunComparison:
    """What two runs differ in. `why` says in words why they are a pair or are none."""

    a: Run
    b: Run
    pair: bool
    why: str
    recipe: tuple[Differing, ...]
    data: tuple[str | None, str | None]
    environment: tuple[Differing, ...]
    results: tuple[Measured, ...]
    validation: tuple[Measured, ...]

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        measured = {
            name: [{**asdict(one), "difference": one.difference} for one in numbers]
            for name, numbers in (("results", self.results), ("validation", self.validation))
        }
        differing = {
            name: [asdict(one) for one in found]
            for name, found in (("recipe", self.recipe), ("environment", self.environment))
        }
        data = {"a": self.data[0], "b": self.data[1], "same": self.data[0] == self.data[1]}
        head = {"a": self.a.id, "b": self.b.id, "pair": self.pair, "why": self.why}
        return {**head, **differing, "data": data, **measured}


def compare(a: Run, b: Run) -> RunComparison:
    """Compares two runs, finished or not. Raises BadInput for a run and itself, or when a record is damaged."""
    if a.folder.resolve() == b.folder.resolve():
        raise BadInput(Problem(f"{a.id} is the same run twice"))
    pair, why = _pair(a, b)
    unfinished = [f"{run.id} is not finished ({run.status})" for run in (a, b) if run.manifest is None]
    return RunComparison(
        a,
        b,
        pair,
        "; ".join([why, *unfinished]),
        differing(asked(a), asked(b)),
        (data_hash(a), data_hash(b)),
        differing(_ran_on(a), _ran_on(b)),
        _measured(_results(a), _results(b)),
        _measured(_validation(a), _validation(b)),
    )


def _pair(a: Run, b: Run) -> tuple[bool, str]:
    """Whether the runs differ in the activation's treatment alone, and why, by the rules of the report's cohorts."""
    found = cohorts([a, b])
    if len(found) > 1:
        keys = [one.key.removeprefix("recipe.") for one in differing(setup(a), setup(b))]
        return False, f"not a pair: they also differ in {', '.join(keys)}"
    same_seeds = seed_key(a) == seed_key(b)
    if len(found[0].variants) == 1:
        return False, f"not a pair: one activation, {'trained twice' if same_seeds else 'with other seeds'}"
    if not same_seeds:
        return False, "not a pair: other activations, but other seeds too"
    if a.info["recipe"]["model"].get("ffn_in_std") == "as_released":
        return False, "not a pair: the weights into their blocks start at other sizes, as RAFT released them"
    if len({finetune_settings(run).get("tune", FULL) for run in (a, b)}) == 1:
        return True, "a pair: they differ in the activation alone"
    same_model = a.info["parent"] == b.info["parent"]
    differing_in = "what is tuned alone" if same_model else "the activation and what is tuned"
    return True, f"a pair: they differ in {differing_in}"


def asked(run: Run) -> dict[str, Any]:
    """What a run was asked for: the recipe, and for a fine-tuned run its task, seed and settings.

    What its record lacks was at its default then. Raises BadInput for what another version of actbench recorded.
    """
    recipe = read_recorded(run.info["recipe"], str(run.folder / "run.json")).model_dump(mode="json")
    tuned: dict[str, Any] = {key: run.info[key] for key in ("task", "finetune", "finetune_seed") if key in run.info}
    return {**recipe, **tuned, **({"finetune": finetune_settings(run)} if "finetune" in tuned else {})}


def _ran_on(run: Run) -> dict[str, Any]:
    return {key: run.info.get(key, {}) for key in ("hardware", "environment")}


def differing(a: dict[str, Any], b: dict[str, Any]) -> tuple[Differing, ...]:
    """The dotted keys of nested data whose values differ, in their order."""
    of_a, of_b = dict(flat(a)), dict(flat(b))
    keys = dict.fromkeys([*of_a, *of_b])
    return tuple(Differing(k, of_a.get(k), of_b.get(k)) for k in keys if of_a.get(k) != of_b.get(k))


def _measured(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[Measured, ...]:
    return tuple(Measured(key, a[key], b[key]) for key in a if key in b)


def _results(run: Run) -> dict[str, float]:
    summary = flat(run.manifest["summary"]) if run.manifest else ()
    return {key: value for key, value in summary if isinstance(value, int | float) and not isinstance(value, bool)}


def _validation(run: Run) -> dict[str, float]:
    """{step: validation loss}, the step as text."""
    return {str(row["step"]): row["loss"] for row in run.metrics() if row["kind"] == "validation"}
