"""A study: all its runs, its report, nothing twice, and a failure that stops no other."""

import json
import signal
import subprocess
import time

import pytest
import yaml
from conftest import COMMAND

from actbench.bench.growth import studies


@pytest.fixture
def study(tmp_path, tiny_recipe):
    """Writes a study over a tiny BERT, and one over a tiny GPT."""

    def write(**changes):
        tiny_recipe("bert")
        tiny_recipe("gpt")
        follow_up = {"seeds": [0], "settings": {"train_size": 20, "epochs": 1}}
        axes = {"model.activation.name": ["gelu", "raf"], "seed": [0, 1]}
        data = {
            "name": "small",
            "title": "A small study",
            "experiments": [
                {"recipe": "bert.yaml", "axes": axes, "probes": follow_up},
                {"recipe": "gpt.yaml", "axes": {"model.activation.name": ["gelu", "swiglu"]}},
            ],
            **changes,
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


def test_a_study_trains_fine_tunes_reports_and_does_nothing_twice(actbench, study, tmp_path):
    first = json.loads(actbench("study", "run", study(), "--json", timeout=280, check=0).stdout)
    runs = json.loads(actbench("runs", "list", "--json").stdout)["runs"]
    assert first["finished"] == len(runs) == 6 + 4 * 3
    page = (tmp_path / first["report"]).read_text()
    assert "A small study" in page and "stand-in" in page and "<svg" in page
    assert (tmp_path / "runs" / "small" / "report.md").exists()
    manifests = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/manifest.json")}
    assert json.loads(actbench("study", "run", study(), "--json", check=0).stdout) == first
    assert manifests == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/manifest.json")}
    assert (tmp_path / first["report"]).read_text() == page, "the same runs give the same page"


def test_a_failing_run_stops_no_other(actbench, study, tmp_path):
    axes = {"optimizer.lr": [1e38, 1e-3], "optimizer.clip_norm": [None]}
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": axes}])
    done = actbench("study", "run", path, check=1)
    assert "finite" in done.stderr
    said = done.stderr.splitlines()  # `bench growth` tells a study's parts by these lines
    assert [len(list(filter(line.match, said))) for line in (studies.RUN_BEGINS, studies.REPORT_BEGINS)] == [2, 1]
    statuses = sorted(row["status"] for row in json.loads(actbench("runs", "list", "--json").stdout)["runs"])
    assert statuses == ["failed", "finished"]
    assert (tmp_path / "runs" / "small" / "report.html").exists()


def test_a_study_stopped_in_a_run_goes_on_from_there(actbench, study, tiny_recipe, tmp_path):
    path = study(experiments=[{"recipe": "bert.yaml", "axes": {"seed": [0]}}])
    tiny_recipe("bert", budget={"steps": 1500}, checkpoint={"every_steps": 1000})
    process = subprocess.Popen([COMMAND, "study", "run", path], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    end = time.time() + 200  # a busy machine takes its time to import torch
    while time.time() < end and not list((tmp_path / "runs").glob("*/metrics.jsonl")):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (folder,) = (tmp_path / "runs").glob("tiny-*")
    assert (folder / "checkpoints" / "last.ckpt").exists(), "the job saved its state before it ended"
    before = (folder / "metrics.jsonl").read_text().splitlines()
    actbench("study", "run", path, check=0)
    assert (folder / "metrics.jsonl").read_text().splitlines()[: len(before)] == before, (
        "it went on, it did not start over"
    )


def test_every_problem_of_a_study_is_told_before_anything_runs(actbench, study, tmp_path):
    path = study(
        experiments=[
            {"recipe": "bert.yaml", "axes": {"model.activation.name": ["gelu", "raff"], "sed": [0]}},
            {"recipe": "gtp.yaml", "axes": {"seed": [0]}},
        ]
    )
    done = actbench("study", "run", path, check=2)
    for expected in ("did you mean 'raf'?", "did you mean 'seed'?", "no such file", "study.yaml:"):
        assert expected in done.stderr
    assert not (tmp_path / "runs").exists()
