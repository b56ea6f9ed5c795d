"""Installed distributions offer activations by entry points; one that is broken or in the way breaks nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from actbench.activations import available, clashes, code_hash, create, distribution, get, loading
from actbench.cli.activations import _verdicts
from actbench.errors import BadInput

CUBE = """
from actbench.activations import Activation
class Cube(Activation):
    \"\"\"x cubed.\"\"\"
    def compute(self, x):
        return x * x * x
class Other(Activation):
    def compute(self, x):
        return x
"""


def install(folder: Path, name: str, points: dict[str, str], module: str = "", version: str = "1.2") -> None:
    """What pip leaves of a distribution: a module and its metadata."""
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "\n".join(f"{key} = {value}" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[actbench.activations]\n{lines}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed distributions, on this process's path too."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    loading.plugins.cache_clear()
    yield folder
    loading.plugins.cache_clear()
    for module in ("cubes", "dice", "torn"):
        sys.modules.pop(module, None)


def test_a_plug_in_is_known_by_the_name_of_its_entry_point(site: Path) -> None:
    install(site, "cubes", {"cube": "cubes:Cube"}, CUBE)
    assert "cube" in available() and distribution("cube") == "cubes 1.2"
    assert get("cube").name == "cube" and create("cube").compute(2) == 8
    assert code_hash("cube") == hashlib.sha256(CUBE.encode()).hexdigest()
    with pytest.raises(BadInput, match=r"did you mean 'cube'\?"):
        get("cub")


@pytest.mark.parametrize(
    ("value", "module", "said"),
    [
        ("torn:Cube", "import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("torn:Cube", "1 +", "SyntaxError"),
        ("torn:Cube", "raise SystemExit('no licence')", "SystemExit: no licence"),
        ("torn:Cub", CUBE, "AttributeError: module 'torn' has no attribute 'Cub'"),
        ("torn:VALUE", "VALUE = 3", "torn:VALUE is no subclass of actbench.activations.Activation"),
        ("torn.gone:Cube", CUBE, "'torn' is not a package"),
    ],
)
def test_a_broken_plug_in_is_told_with_its_distribution(site: Path, value: str, module: str, said: str) -> None:
    install(site, "torn", {"torn": value}, module)
    install(site, "cubes", {"cube": "cubes:Cube"}, CUBE)
    with pytest.raises(BadInput) as caught:
        get("torn")
    assert "activation 'torn' of torn 1.2 does not load" in str(caught.value) and said in str(caught.value)
    assert create("cube") is not None and {"cube", "torn", "gelu"} <= set(available())
    [verdict] = _verdicts("torn", {}, all_of_them=True)  # `activations check` of all goes on to the next
    assert verdict.status == "fail" and said in verdict.words


def test_actbenchs_own_activation_wins_over_one_of_the_same_name(site: Path) -> None:
    install(site, "cubes", {"gelu": "cubes:Cube"}, CUBE)
    assert get("gelu").__name__ == "GELU" and distribution("gelu") is None and code_hash("gelu") is None
    assert clashes() == {"gelu": "cubes 1.2"}


def test_a_name_offered_twice_is_refused(site: Path) -> None:
    install(site, "cubes", {"cube": "cubes:Cube"}, CUBE)
    install(site, "dice", {"cube": "dice:Cube"}, CUBE, version="3")
    with pytest.raises(BadInput, match=r"'cube' is offered by (cubes 1\.2 and dice 3|dice 3 and cubes 1\.2)"):
        get("cube")


def test_a_distribution_found_twice_or_not_readable_does_no_harm(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "cubes", {"cube": "cubes:Cube"}, CUBE)
    install(site, "torn", {"torn": "torn:Cube"})
    (site / "torn-1.2.dist-info" / "entry_points.txt").write_text("[actbench.activations]\nno equals sign\n")
    again = tmp_path / "again"
    again.mkdir()
    install(again, "cubes", {"cube": "cubes:Cube"}, CUBE)
    monkeypatch.syspath_prepend(again)
    assert distribution("cube") == "cubes 1.2" and create("cube") is not None and "torn" not in available()


def test_the_command_lists_plug_ins_and_goes_on_past_broken_ones(actbench, site: Path) -> None:
    install(site, "cubes", {"cube": "cubes:Cube", "gelu": "cubes:Other"}, CUBE)
    install(site, "torn", {"torn": "torn:Cube"}, "import nothing_of_this_name")
    done = actbench("activations", "list", "--json", check=0, PYTHONPATH=str(site))
    rows = {row["name"]: row for row in json.loads(done.stdout)["activations"]}
    assert rows["cube"]["from"] == "cubes 1.2" and rows["gelu"]["from"] is None and "torn" not in rows
    assert rows["cube"]["flops_per_element"] == 2 and rows["poly_norm"]["coefficients"] == 4
    assert "left out: activation 'torn' of torn 1.2 does not load: ModuleNotFoundError" in done.stderr
    assert "left out: the 'gelu' of cubes 1.2: actbench has an activation of that name" in done.stderr
    refused = actbench("activations", "show", "torn", check=2, PYTHONPATH=str(site))
    assert refused.stderr.startswith("error: activation 'torn' of torn 1.2") and refused.stdout == ""


def test_the_example_of_the_docs_is_a_plug_in(actbench, site: Path) -> None:
    page = (ROOT / "docs" / "your-own-activation.md").read_text()
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)[0])["project"]
    code = next(
        text for text in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if text.startswith("# mine.py")
    )
    points = project["entry-points"]["actbench.activations"]
    install(site, "mine", points, code, project["version"])
    shown = actbench("activations", "show", *points, check=0, PYTHONPATH=str(site)).stdout
    assert shown.startswith("softcube, from mine 1.0\n") and "a, at first 0.1" in shown
