"""The commands in the documentation work as they stand, in the order in which they stand."""

import re
import shlex

import pytest
import yaml
from conftest import ROOT
from fake_runs import finetune, pretrain

from actbench.study import load_study

CHEAP = {
    "pretrain": ["--set", "budget.steps=2", "--set", "hardware.compile=never", "--set", "validation.sequences=32"],
    "finetune": ["--set", "epochs=1", "--seeds", "0"],
}


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def commands(page):
    lines = [line.partition("#")[0].strip() for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(("make", "source"))]


@pytest.mark.timeout(600)  # some twenty commands, each with imports of its own
@pytest.mark.parametrize("page", ["README.md", "docs/your-own-activation.md"])
def test_commands_work_as_they_stand(actbench, tmp_path, page):
    for block in blocks(page, "python"):
        file = re.match(r"# (\w+\.py)\n", block)
        if file:
            (tmp_path / file[1]).write_text(block)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    found = commands(page)
    assert len(found) >= 3
    for command in found:
        words = shlex.split(command)
        assert words[0] == "actbench", command
        actbench(*words[1:], *CHEAP.get(words[1], []), check=0)


def test_commands_on_runs_work_as_they_stand(actbench, tmp_path):
    for activation in ("gelu", "raf"):
        run = pretrain(tmp_path / "runs", activation, name=f"bert-nano-{activation}-s0", loss=3.9)
        finetune(tmp_path / "runs", run)
    pretrain(tmp_path / "runs", "relu", finished=False)
    found = commands("docs/runs.md")
    subcommands = {shlex.split(command)[2] for command in found}
    assert subcommands == {"list", "show", "compare", "export", "import", "rm"}
    for command in found:
        done = actbench(*shlex.split(command)[1:], check=0)
        assert "none of" not in done.stdout or "status=failed" in command, command


@pytest.mark.timeout(600)  # four commands, each with imports of its own
def test_commands_on_studies_work_as_they_stand(actbench, tiny_recipe, tmp_path):
    """The page's own study, its recipe and its seeds made small."""
    (text,) = blocks("docs/studies.md", "yaml")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    file = tmp_path / re.match(r"# ([\w.]+)\n", text)[1]
    file.write_text(text)
    assert len(load_study(file).jobs) == 12
    study = yaml.safe_load(text)
    del study["claim"]  # which one seed cannot show
    (experiment,) = study["experiments"]
    experiment["recipe"] = tiny_recipe("bert").name
    experiment["axes"]["seed"] = [0]
    experiment["follow_ups"][0] |= {"seeds": [0], "tasks": ["probe_swap"], "settings": {"train_size": 20, "epochs": 1}}
    file.write_text(yaml.safe_dump(study))
    found = commands("docs/studies.md")
    assert {shlex.split(command)[2] for command in found} == {"plan", "run", "status", "report"}
    for command in found:
        actbench(*shlex.split(command)[1:], check=0)
    assert (tmp_path / "runs" / study["name"] / "report.html").exists()


PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("recipes/**/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_recipes_are_there(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    named = [page.parent / link for link in links if not re.match(r"\w+:", link)]
    for path in re.findall(r"\brecipes/[\w./-]+\.yaml", text):
        sizes = ("nano", "paper") if "/S/" in path else ("",)  # a page's word for either
        named += [ROOT / path.replace("/S/", f"/{size}/") for size in sizes]
    assert [str(path) for path in named if not path.exists()] == []


def test_the_run_folders_readme_names_every_file(actbench, tiny_recipe, tmp_path):
    text = (ROOT / "runs" / "README.md").read_text()
    actbench("pretrain", "-r", tiny_recipe(), check=0)
    names = {path.name for path in (tmp_path / "runs").rglob("*") if path.is_file()} - {".lock"}
    assert "manifest.json" in names and [name for name in names if name not in text] == []
