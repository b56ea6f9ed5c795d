"""A command imports what it needs: to read the store takes no torch, and no command but training takes Lightning."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake_runs
import pytest

TORCH = {"torch", "lightning", "torchmetrics", "transformers"}
LIGHTNING = TORCH - {"torch"}
STORE = (
    "runs list",
    "runs show A --verify",
    "runs compare A B",
    "runs export A -o a.tar",
    "runs import a.tar --runs b",
)
FIGURES = ("plot curves A -o c.svg", "plot activations A -o a.svg")
RECIPES = ("recipe check bert.yaml", "recipe show bert.yaml", "pretrain --recipe bert.yaml --dry-run")
COMMANDS = {
    "without torch": (TORCH | {"matplotlib", "scipy", "datasets"}, (*STORE, "runs rm B --yes")),
    "without Lightning": (LIGHTNING | {"datasets"}, (*RECIPES, "activations list", "activations show raf", *FIGURES)),
}
CODE = """
import json, sys
from actbench.cli.main import main
heavy, commands = json.loads(sys.argv[1])
for words in commands:
    sys.argv = ["actbench", *words.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
    found = sorted(set(heavy) & set(sys.modules))
    assert not found, (words, found)
"""


@pytest.mark.parametrize("which", COMMANDS)
def test_a_command_imports_nothing_that_it_does_not_need(
    tmp_path: Path, tiny_recipe: Callable[..., Path], which: str
) -> None:
    """One after the other in one process: what the first imports, the next would be told of."""
    tiny_recipe("bert")
    heavy, commands = COMMANDS[which]
    a, b = (fake_runs.pretrain(tmp_path / "runs", name).id for name in ("gelu", "raf"))
    named = [command.replace(" A", f" {a}").replace(" B", f" {b}") for command in commands]
    code = [sys.executable, "-c", CODE, json.dumps([sorted(heavy), named])]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
