"""Tasks' examples from the hub: without a connection from a copy, or one clear error, at once and once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_stand_in import REPO, HubStandIn, client_environment
from studies import planned

from actbench.data import hub
from actbench.data.hub import Unreachable
from actbench.errors import BadInput

# The hub's client reads its address when it is imported, so each of these runs in a process of its own.
LOAD = """
import json, sys
from actbench.data.hub import load_splits
from actbench.errors import BadInput
for names in json.loads(sys.argv[1]):
    try:
        found = load_splits(*names, hint="look elsewhere")
        print("ANSWER", json.dumps(found["train"]["text"][:]))
    except BadInput as error:
        print("ANSWER", json.dumps([type(error).__name__, str(error)]))
"""
CARD = """---
configs:
- {config_name: default, data_files: train.jsonl, default: true}
- {config_name: small, data_files: train.jsonl}
---
"""
FILES = {"README.md": CARD.encode(), "train.jsonl": b'{"text": "one"}\n{"text": "two"}\n'}


def load(environment: dict[str, str], *cases: list[str]) -> list[Any]:
    """What each case's data set holds, or what is wrong with it; nothing is said of trying again."""
    command = [sys.executable, "-c", LOAD, json.dumps(cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "etry" not in done.stderr, done.stderr
    return [json.loads(line.removeprefix("ANSWER")) for line in done.stdout.splitlines() if line.startswith("ANSWER")]


@pytest.fixture
def closed_endpoint() -> Iterator[str]:
    """An address that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_without_a_connection_a_copy_is_read_or_the_error_comes_at_once(tmp_path: Path, closed_endpoint: str) -> None:
    with HubStandIn(FILES) as stand_in:
        online, nobodys = load(stand_in.environment(tmp_path), [REPO], ["org/other"])
    assert online == ["one", "two"]
    assert nobodys == ["BadInput", "org/other: not found on the hub, or private (look elsewhere)"]
    lost = client_environment(closed_endpoint, tmp_path)
    began = time.monotonic()
    for environment in (lost, lost | {"HF_HUB_OFFLINE": "1"}):
        copy, subset, unknown = load(environment, [REPO], [REPO, "small"], ["org/other"])
        assert copy == ["one", "two"]
        assert subset[0] == "Unreachable" and "the copy on this machine will not do: " in subset[1]
        what = "org/other: the hub cannot be reached, and there is no copy on this machine (look elsewhere)"
        assert unknown == ["Unreachable", what]
    assert time.monotonic() - began < 80  # two processes; the client's own attempts take half a minute each


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("glue", "experiments.0.follow_ups.0: nyu-mll/glue: the hub cannot be reached"),
        ("squad", "experiments.0.follow_ups.0: rajpurkar/squad: the hub cannot be reached"),
    ],
)
def test_a_study_asks_once_for_what_cannot_be_reached(
    source: str,
    said: str,
    tiny_recipe: Callable[..., Path],
    study_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def load_dataset(*names: str) -> None:
        asked.append(names)
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    tiny_recipe("bert")
    follow_ups = [{"finetune": source, "seeds": [0], "settings": {"lr": lr}} for lr in (1e-4, 1e-3)]
    axes = {"model.activation.name": ["gelu", "raf"]}
    with pytest.raises(Unreachable) as caught:
        planned(study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": follow_ups}]))
    assert len(asked) == 1
    (problem,) = caught.value.problems
    assert said in str(problem) and f"--data {source}=DIR" in problem.hint


def test_a_study_stops_at_a_corpus_that_cannot_be_reached(
    tiny_recipe: Callable[..., Path], study_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(corpus: Any, revision: str | None) -> None:
        asked.append(corpus.dataset)
        raise ConnectionError

    monkeypatch.setattr(hub, "_ask", ask)
    recipe = tiny_recipe("bert")
    recipe.write_text(
        yaml.safe_dump(yaml.safe_load(recipe.read_text()) | {"corpus": {"source": "hub", "dataset": REPO}})
    )
    with pytest.raises(BadInput, match="the hub cannot be reached") as caught:
        planned(study_file())
    assert len(asked) == 1 == len(caught.value.problems)
