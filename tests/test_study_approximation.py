"""A study may ask for fits of smooth functions: they are made once, after its runs, and stand in its report."""

from __future__ import annotations

import json

import pytest
from studies import carry_out, planned

from actbench.errors import BadInput
from actbench.study import load_study, report_study
from actbench.study.estimate import estimate
from actbench.study.status import status

ASKED = {"targets": ["square"], "activations": ["relu", "poly_relu"], "sizes": [14, 20], "seeds": [0, 1]}


@pytest.fixture
def path(study_file, tiny_recipe):
    tiny_recipe("bert", budget={"steps": 1})
    experiment = {"recipe": "bert.yaml", "axes": {"model.activation.name": ["gelu"]}}
    return study_file(experiments=[experiment], approximation=ASKED)


def test_fits_are_made_once_and_stand_in_the_report(path, tmp_path):
    line = status(planned(path))[-1]
    assert (line.title, line.state, line.done, line.total) == ("approximation", "to do", 0, 4)
    assert "0 of 4 fits of smooth functions are there" in estimate(planned(path)).basis[-1]
    said: list[str] = []
    report = carry_out(path, said=said).report
    assert sum(line.startswith("fitting ") for line in said) == 4
    assert status(planned(path))[-1].state == "finished"
    tables = json.loads((report.parent / "tables.json").read_text())["tables"]
    (rates,) = (table for table in tables if "how fast the error falls" in table["title"])
    assert [row["activation"] for row in rates["rows"]] == ["relu", "poly_relu"]
    assert (report.parent / "figures" / "approximation.svg").is_file()
    assert "figures/approximation.svg" in (report.parent / "report.md").read_text()
    assert "How fast functions are approximated" in report.read_text()
    again: list[str] = []
    carry_out(path, said=again)
    assert not any(line.startswith("fitting ") for line in again)


def test_what_is_missing_is_made_and_no_more(path, tmp_path):
    report = carry_out(path).report
    for kept in sorted((tmp_path / "runs" / "approximation").iterdir())[:2]:
        kept.unlink()
    line = status(planned(path))[-1]
    assert (line.state, line.done) == ("to do", 2)
    before = report.read_text()
    said: list[str] = []
    carry_out(path, said=said)
    assert sum(line.startswith("fitting ") for line in said) == 2 and report.read_text() == before


def test_a_report_in_the_middle_of_the_fits_says_how_many_there_are(path, tmp_path, monkeypatch):
    """Of the second target one activation is not fitted yet; a damaged file counts as none."""
    text = path.read_text().replace("- square", "- square\n  - sine")
    path.write_text(text)
    report = carry_out(path).report
    folder = tmp_path / "runs" / "approximation"
    fits = {json.loads(file.read_text())["target"]: file for file in folder.iterdir()}
    sines = [file for file in folder.iterdir() if json.loads(file.read_text())["target"] == "sine"]
    for file in sines:
        if json.loads(file.read_text())["activation"] == "relu":
            file.unlink()
    fits["square"].write_text("{}")
    assert report_study(planned(path), lambda _: None)[1] == 1
    assert "5 of 8 fits are there" in report.read_text()
    assert status(planned(path))[-1].done == 5
    outcome = carry_out(path)
    (reason,) = outcome.failed.values()
    assert "damaged" in reason and fits["square"].name in reason and outcome.report is not None
    assert status(planned(path))[-1].done == 7, "a fit that fails stops no other"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"targets": ["squar"]}, "approximation.targets: unknown target 'squar' (did you mean 'square'?)"),
        ({"activations": ["reluu"]}, "approximation.activations: unknown activation 'reluu'"),
        ({"sizes": [16]}, "approximation.sizes: a slope needs two sizes or more"),
        ({"sizes": [16, 4000]}, "approximation.sizes.1: "),
        ({"seeds": [-1]}, "approximation.seeds.0: "),
        ({"size": [16]}, "approximation.size: unknown key (did you mean 'approximation.sizes'?)"),
    ],
)
def test_what_cannot_be_asked_is_told_by_its_key(study_file, tiny_recipe, change, told):
    tiny_recipe("bert")
    with pytest.raises(BadInput) as caught:
        load_study(study_file(approximation={**ASKED, **change}))
    assert told in str(caught.value) and "study.yaml:" in str(caught.value)
