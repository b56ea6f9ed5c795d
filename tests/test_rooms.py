"""The house has rooms: each imports only from rooms below it, and what is heavy stays in few of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "actbench"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up.
ROOMS = [
    "errors", "activations", "config", "store", "nn", "data", "evaluation", "training", "analysis", "report",
    "bench", "study", "cli",
]  # fmt: skip
FORBIDDEN_BELOW = {
    "nn": {"store"},
    "analysis": {"training", "nn", "data", "evaluation"},
    "report": {"training", "nn", "data", "evaluation"},
}
HEAVY = {"lightning": {"training"}, "matplotlib": {"report"}, "typer": {"cli"}, "datasets": {"data", "bench"}}


def room_of(module: str) -> str:
    """The room of a dotted module name; "" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, at the top or inside a function, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def imports_of(file: Path) -> list[tuple[int, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return list(imports(tree, module_name(file), file.name == "__init__.py"))


def violations(file: Path) -> list[str]:
    own = room_of(module_name(file))
    found = []
    for line, name in imports_of(file):
        if name.split(".")[0] != "actbench":
            continue
        room = room_of(name)
        if room in ("", own, "__version__"):
            continue
        if room not in ROOMS:
            found.append(f"{file.name}:{line} imports {name}, which is in no room")
        elif ROOMS.index(room) > ROOMS.index(own) or room in FORBIDDEN_BELOW.get(own, ()):
            found.append(f"{file.name}:{line}: {own} imports {name}")
    return found


def in_a_room(file: Path) -> bool:
    return module_name(file) not in ("actbench", "actbench.__main__")


def test_every_file_is_in_a_room() -> None:
    assert {room_of(module_name(file)) for file in FILES if in_a_room(file)} == set(ROOMS)


@pytest.mark.parametrize("file", [f for f in FILES if in_a_room(f)], ids=module_name)
def test_a_room_imports_from_rooms_below_it_alone(file: Path) -> None:
    assert violations(file) == []


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_stays_in_its_room(library: str) -> None:
    users = {
        f"{module_name(file)}:{line}"
        for file in FILES
        for line, name in imports_of(file)
        if name.split(".")[0] in (library, f"pytorch_{library}") and room_of(module_name(file)) not in HEAVY[library]
    }
    assert users == set()


@pytest.mark.parametrize(
    ("room", "line", "wrong"),
    [
        ("nn", "from actbench.training import plan", True),
        ("nn", "import actbench.store.run", True),
        ("nn", "from actbench.config.schema import BertSection", False),
        ("nn", "from actbench import activations", False),
        ("nn", "from actbench import cli", True),
        ("report", "def f():\n    from actbench.data import glue", True),
        ("report", "from ..nn import bert", True),
        ("report", "from .table import Table", False),
        ("store", "from actbench import __version__", False),
        ("study", "def f():\n    from actbench.cli.common import say", True),
        ("activations", "from actbench.helpers import x", True),
    ],
)
def test_the_check_sees_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str, line: str, wrong: bool
) -> None:
    package = tmp_path / "actbench"
    (package / room).mkdir(parents=True)
    file = package / room / "new.py"
    file.write_text(line + "\n", encoding="utf-8")
    monkeypatch.setattr("test_rooms.PACKAGE", package)
    assert bool(violations(file)) is wrong
