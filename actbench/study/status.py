"""How far a study is: a line for each pre-training run and each follow-up, as the store has them now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from actbench.analysis.labels import treatment
from actbench.config import Recipe
from actbench.config.approximation import ApproximationSection
from actbench.store import Run
from actbench.study.follow_ups import FollowUp
from actbench.study.graph import Graph, Node
from actbench.study.told_apart import spelled, told_apart

State = Literal["finished", "running", "failed", "interrupted", "to do", "waiting"]  # waiting: for its parent
INDENT = "  "  # before a follow-up's title


@dataclass(frozen=True)
class Progress:
    """A pre-training run, counted in steps, a follow-up of one, counted in runs, or the fits of smooth functions.

    `label` says of a run what tells it from those whose names are alike but for the hash. `total` is None for a budget
    in minutes. `loss` is the validation loss, or while it trains the last training loss.
    """

    title: str
    state: State
    done: int
    total: int | None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    failed: dict[str, str] | None = None  # run: reason
    label: str = ""

    @property
    def is_follow_up(self) -> bool:
        """Whether it follows up the run of the line above it."""
        return self.title.startswith(INDENT)

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def status(graph: Graph) -> list[Progress]:
    """Every pre-training run, each followed by its follow-ups; last the fits of smooth functions, if there are any."""
    lines = []
    for node, label in zip(graph.nodes, _labels(graph.nodes), strict=True):
        own = replace(_pretraining(node), label=label)
        lines.append(own)
        for follow_up in node.follow_ups:
            lines.append(_follow_up(graph, node, follow_up, parent_finished=own.state == "finished"))
    if graph.study.approximation is not None:
        lines.append(_approximation(graph.study.approximation, graph.runs))
    return lines


def _labels(nodes: Sequence[Node]) -> list[str]:
    """For each node what tells its run from those whose names are alike but for the hash; mostly nothing."""
    alike: dict[str, list[int]] = defaultdict(list)
    for i, node in enumerate(nodes):
        alike[node.run.id.rpartition("-")[0]].append(i)
    labels = [""] * len(nodes)
    for places in alike.values():
        facts = _facts([nodes[i].plan.recipe for i in places])
        for i, words in zip(places, told_apart(facts), strict=True):
            labels[i] = words
    return labels


def _facts(recipes: Sequence[Recipe]) -> list[dict[str, str]]:
    """What each recipe says, in words by key: first of its activations as the report does, then all else that is short.

    Of a key its last part is told, or the last two where another key ends alike.
    """
    of_model = {"activation": True, "activation_overrides": True, "moe": {"activation_sharing"}}
    own: dict[str, Any] = {"name": True, "seed": True, "model": of_model}
    said = [spelled(recipe.model_dump(mode="json", exclude_unset=True, exclude=own)) for recipe in recipes]
    used = Counter(key.rpartition(".")[2] for key in {key for words in said for key in words})
    told = [{key: word[len(key) - len(_end(key, used)) :] for key, word in words.items()} for words in said]
    return [{**_of_activations(recipe), **words} for recipe, words in zip(recipes, told, strict=True)]


def _end(key: str, used: Counter[str]) -> str:
    *_, last = parts = key.split(".")
    return last if used[last] == 1 else ".".join(parts[-2:])


def _of_activations(recipe: Recipe) -> dict[str, str]:
    """The report's words: one for each option, and one for what else is not the default."""
    words = treatment(recipe.model)
    options = {word.partition("=")[0]: word for word in words if " " not in word.partition("=")[0]}
    others = ", ".join(word for word in words if word not in options.values())
    return {**options, **({"": others} if others else {})}


def _approximation(request: ApproximationSection, runs: Path) -> Progress:
    from actbench.analysis.approximation import kept

    found = kept(request, runs)
    done = len(found.fits)
    return Progress("approximation", "finished" if done == found.asked else "to do", done, found.asked)


def counts(lines: Sequence[Progress]) -> dict[str, int]:
    """How many lines are in which state, the states in the order in which they are met."""
    return dict(Counter(line.state for line in lines))


def _pretraining(node: Node) -> Progress:
    run, recipe = node.run, node.plan.recipe
    state = _state(run)
    if run.manifest is not None:
        if run.imported:
            return Progress(run.id, state, 0, 0)
        summary = run.summary
        return Progress(
            run.id, state, summary["steps"], summary["steps"], summary["validation_loss"], summary["tokens_per_second"]
        )
    last = next((row for row in reversed(run.metrics()) if row["kind"] == "train"), None)
    failed = {run.id: run.failure} if state == "failed" else None
    if last is None:
        return Progress(run.id, state, 0, recipe.total_steps, failed=failed)
    left = _seconds_left(recipe, last) if state == "running" else None
    return Progress(
        run.id, state, last["step"], recipe.total_steps, last["loss"], last["tokens_per_second"], left, failed
    )


def _seconds_left(recipe: Recipe, last: dict[str, Any]) -> float | None:
    if recipe.budget.minutes is not None:
        return max(0.0, 60 * recipe.budget.minutes - float(last["seconds"]))
    assert recipe.total_steps is not None
    if not last["tokens_per_second"]:
        return None
    return float((recipe.total_steps - last["step"]) * recipe.tokens_per_step / last["tokens_per_second"])


def _follow_up(graph: Graph, node: Node, follow_up: FollowUp, *, parent_finished: bool) -> Progress:
    title = INDENT + graph.titles[follow_up]
    if not parent_finished:
        return Progress(title, "waiting", 0, follow_up.n_runs(node.plan.recipe))
    runs = graph.follow_up_runs(node, follow_up)
    states = [_state(run) for run in runs]
    failed = {run.id: run.failure for run, state in zip(runs, states, strict=True) if state == "failed"}
    done = states.count("finished")
    return Progress(
        title, _together(states), done, max(len(runs), follow_up.n_runs(node.plan.recipe)), failed=failed or None
    )


def _together(states: Sequence[State]) -> State:
    """The state of several runs as one."""
    if "running" in states:
        return "running"
    if "interrupted" in states or {"finished", "to do"} <= set(states):
        return "interrupted"
    return next(state for state in ("failed", "to do", "finished") if state in states)


def _state(run: Run) -> State:
    return run.status if run.folder.exists() else "to do"
