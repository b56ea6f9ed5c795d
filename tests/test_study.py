"""A study: all its runs and follow-ups, its report, nothing twice, and a failure or a kill that costs no other run."""

import json
import math
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import COMMAND
from studies import Here, carry_out, planned

from actbench.bench.growth import studies as growth
from actbench.cli import study as cli
from actbench.errors import BadInput, Interrupted, RunFailed
from actbench.evaluation.likelihood import Likelihood
from actbench.store import Run, list_runs
from actbench.study.launchers import open_launcher
from actbench.study.tasks import Task, perform

GELU_AND_RAF = {"model.activation.name": ["gelu", "raf"]}


@pytest.fixture
def study(study_file, tiny_recipe):
    """Writes a study over a tiny BERT, and one over a tiny GPT."""
    tiny_recipe("bert")
    tiny_recipe("gpt")
    return study_file


def everything(corpus_file):
    """Experiments with follow-ups of every kind that needs no download."""
    probes = {
        "finetune": "probes",
        "seeds": [0],
        "tasks": ["probe_swap"],
        "settings": {"train_size": 20, "epochs": 1},
    }
    elsewhere = {"eval": "perplexity", "corpus": str(corpus_file)}
    return [
        {"recipe": "bert.yaml", "axes": {**GELU_AND_RAF, "seed": [0, 1]}, "follow_ups": [probes, elsewhere]},
        {"recipe": "gpt.yaml", "axes": {"model.activation.name": ["gelu", "swiglu"]}, "follow_ups": [elsewhere]},
    ]


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/manifest.json")}


def test_a_study_trains_follows_up_reports_and_does_nothing_twice(study, corpus_file, tmp_path):
    path = study(experiments=everything(corpus_file))
    first = carry_out(path)
    assert not first.failed
    kinds = [run.kind for run in list_runs(tmp_path / "runs")]
    assert {kind: kinds.count(kind) for kind in kinds} == {"pretrain": 6, "finetune": 4, "evaluate": 6}
    assert first.finished == 6 + 4 + 6
    page = first.report.read_text()
    assert "A small study" in page and "stand-in" in page and "<svg" in page
    tables = {
        table["title"]: table for table in json.loads((tmp_path / "runs/small/tables.json").read_text())["tables"]
    }
    (evaluated,) = (table for title, table in tables.items() if title.startswith("Evaluation: loss on whole texts"))
    assert {(row["model"], row["activation"]) for row in evaluated["rows"]} == {
        ("tiny-bert", "gelu"), ("tiny-bert", "raf"), ("tiny-gpt", "gelu"), ("tiny-gpt", "swiglu"),
    }  # fmt: skip
    before, again = times(tmp_path / "runs"), Here(tmp_path / "runs")
    assert carry_out(path, again).facts() == first.facts()
    assert again.submitted == [] and times(tmp_path / "runs") == before
    assert first.report.read_text() == page, "the same runs give the same page"


def test_runs_that_another_study_made_are_found_by_their_content(study, tmp_path):
    one = {"recipe": "gpt.yaml", "axes": {"seed": [0]}}
    carry_out(study(experiments=[one]))
    here = Here(tmp_path / "runs")
    twice = {**one, "axes": {"seed": [0, 1], "model.activation.name": ["gelu"]}}
    assert carry_out(study(name="other", experiments=[one, twice]), here).finished == 2
    assert len(here.submitted) == 1, "the same run in two experiments is one"


def test_a_failing_run_stops_no_other_and_is_retried_on_request_alone(study, tmp_path):
    axes = {"optimizer.lr": [1e38, 1e-3], "optimizer.clip_norm": [None]}
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": axes, "follow_ups": [{"eval": "perplexity"}]}])
    said: list[str] = []
    first = carry_out(path, said=said)
    ((failed, reason),) = first.failed.items()
    assert first.finished == 2 and "no longer finite" in reason
    assert Run(tmp_path / "runs" / failed).status == "failed"
    assert any("failed: the" in line for line in said)
    assert [len(list(filter(one.match, said))) for one in (growth.RUNS_BEGIN, growth.REPORT_BEGINS)] == [1, 1], (
        "`bench growth` tells a study's parts by these lines"
    )
    again = Here(tmp_path / "runs")
    assert carry_out(path, again).failed == first.failed and again.submitted == []
    assert carry_out(path, again, retry=True).failed == first.failed
    assert again.submitted == [f"pretrain {failed}"]


def test_what_fails_without_a_word_is_kept_with_its_reason(study, tmp_path, monkeypatch):
    """By the local launcher, two at once: a job that is killed takes none with it, and its cores are its share."""
    own = tmp_path / "mine.py"
    own.write_text(
        "import multiprocessing, os, signal\nfrom actbench.activations import Activation, register\n\n\n"
        "@register('dies')\nclass Dies(Activation):\n    def compute(self, x):\n"
        "        if multiprocessing.parent_process() and x.requires_grad:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return x\n"
    )
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": {"model.activation.name": ["gelu", f"{own}:Dies"]}}])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    runs = tmp_path / "runs"
    outcome = carry_out(path, open_launcher("local", runs, runs / "small", {"jobs": "2"}))
    ((failed, reason),) = outcome.failed.items()
    assert outcome.finished == 1 and "dies" in failed and "SIGKILL" in reason
    assert json.loads((runs / failed / "failure.json").read_text())["reason"] == reason
    (finished,) = (run for run in list_runs(runs) if run.status == "finished")
    assert finished.info["hardware"]["threads"] == 2
    assert "step" in (runs / "small" / "logs" / f"pretrain-{finished.id}.log").read_text()


def test_a_study_of_two_jobs_stopped_and_killed_ends_with_the_same_numbers(study, tiny_recipe, tmp_path):
    tiny_recipe("bert", budget={"steps": 400}, checkpoint={"every_steps": 150})
    experiments = [{"recipe": "bert.yaml", "axes": GELU_AND_RAF}]
    path = study(experiments=experiments)
    runs = [node.run for node in planned(path).nodes]

    stopped = _start(path, tmp_path)
    _wait_for(lambda: all(len(run.metrics()) > 5 for run in runs), stopped)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(60) == 143
    assert [run.status for run in runs] == ["interrupted"] * 2
    assert all((run.folder / "checkpoints" / "last.ckpt").exists() for run in runs), "each saved before it ended"
    rows = [run.metrics() for run in runs]

    killed = _start(path, tmp_path)
    _wait_for(lambda: all(len(run.metrics()) > len(was) + 5 for run, was in zip(runs, rows, strict=True)), killed)
    killed.kill()
    _wait_for(lambda: all(run.status != "running" for run in runs))
    assert [run.status for run in runs] == ["interrupted"] * 2, "no job outlives its study"
    assert all(run.metrics()[: len(was)] == was for run, was in zip(runs, rows, strict=True)), "none started over"

    assert carry_out(path).finished == 2
    (tmp_path / "whole").mkdir()
    for file in ("bert.yaml", "study.yaml"):
        (tmp_path / "whole" / file).write_text((tmp_path / file).read_text())
    assert carry_out(tmp_path / "whole" / "study.yaml").finished == 2
    for run in runs:
        whole = Run(tmp_path / "whole" / "runs" / run.id)
        assert Run(run.folder).summary["validation_loss"] == whole.summary["validation_loss"]
        assert _weights(Run(run.folder)) == _weights(whole), "bit for bit"


def _start(path, folder):
    return subprocess.Popen(
        [COMMAND, "study", "run", path, "--jobs", "2"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for(condition, process=None):
    end = time.time() + 120
    while not condition():
        assert time.time() < end and (process is None or process.poll() is None)
        time.sleep(0.05)


def _weights(run):
    return run.manifest["files"]["model.safetensors"]


def test_ctrl_c_stops_the_launcher_and_tells_to_go_on(study, tmp_path):
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0, 1]}}])
    stopped: list[int] = []

    class Impatient(Here):
        def ended(self):
            done = super().ended()
            signal.raise_signal(signal.SIGINT)
            return done

        def stop(self, signal_number):
            stopped.append(signal_number)

    with pytest.raises(Interrupted, match="goes on from here") as caught:
        carry_out(path, Impatient(tmp_path / "runs"))
    assert caught.value.exit_code == 130 and stopped == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    rest = Here(tmp_path / "runs")
    assert carry_out(path, rest).finished == 2 and len(rest.submitted) == 1


def test_a_run_that_another_process_trains_is_told_and_not_called_failed(study, tmp_path):
    from actbench.store import claim

    path = study(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0]}}])
    (node,) = planned(path).nodes
    with claim(node.run.folder):
        assert "another process" in carry_out(path).failed[node.run.id]
    assert node.run.status != "failed"
    assert carry_out(path).finished == 1


def test_a_machine_that_would_train_something_else_says_so(study, tmp_path):
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0]}}])
    (node,) = planned(path).nodes
    task = Task("pretrain other", ("other",), recipe=node.plan.recipe)
    assert "this machine has another text" in perform(task, tmp_path / "runs")
    assert list_runs(tmp_path / "runs") == []


def test_follow_ups_with_runs_in_common_do_each_once(study, tmp_path):
    settings = {"train_size": 20, "epochs": 1}
    both = [
        {"finetune": "probes", "tasks": ["probe_swap"], "seeds": seeds, "settings": settings} for seeds in ([0], [0, 1])
    ]
    path = study(experiments=[{"recipe": "bert.yaml", "axes": {"seed": [0]}, "follow_ups": both}])
    assert carry_out(path).finished == 1 + 2
    graph = planned(path)
    for run in list_runs(tmp_path / "runs"):
        if run.kind == "finetune":
            (run.folder / "manifest.json").unlink()
    tasks = graph.next_tasks(graph.nodes[0], retry=False)
    assert [len(task.run_ids) for task in tasks] == [1, 1] and tasks[0].run_ids != tasks[1].run_ids
    trained = graph.nodes[0].run.id
    assert [task.title for task in tasks] == [f"finetune probes seeds={seeds} {trained}" for seeds in ("0", "0,1")]


def test_what_a_dead_job_had_not_begun_is_not_called_failed(study, tmp_path):
    seeds = {
        "finetune": "probes",
        "tasks": ["probe_swap"],
        "seeds": [0, 1],
        "settings": {"train_size": 20, "epochs": 1},
    }
    path = study(experiments=[{"recipe": "bert.yaml", "axes": {"seed": [0]}, "follow_ups": [seeds]}])

    class Dies(Here):
        def ended(self):
            if self.queue[0].follow_up is None:
                return super().ended()
            Run(tmp_path / "runs" / self.queue[0].run_ids[1]).folder.mkdir()
            return [(self.queue.pop(0), "out of memory")]

    failed = carry_out(path, Dies(tmp_path / "runs")).failed
    assert sorted(failed.values()) == ["not reached: out of memory", "out of memory"]
    again = carry_out(path)
    assert list(again.failed.values()) == ["out of memory"] and again.finished == 2
    assert not carry_out(path, retry=True).failed


def test_a_perplexity_beyond_all_numbers_is_told(study, tmp_path, monkeypatch):
    monkeypatch.setattr(Likelihood, "perplexity", property(lambda self: math.inf))
    said = []
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0]}, "follow_ups": [{"eval": "perplexity"}]}])
    assert not carry_out(path, said=said).failed
    assert any("beyond all numbers" in line for line in said)


def test_the_command_reports_its_outcome_and_its_failures(study, tmp_path, capsys):
    axes = {"optimizer.lr": [1e38, 1e-3], "optimizer.clip_norm": [None]}
    path = study(experiments=[{"recipe": "gpt.yaml", "axes": axes}])
    with pytest.raises(RunFailed, match=r"no longer finite.*\n--retry") as caught:
        cli.run(path, runs=tmp_path / "runs", as_json=True)
    assert caught.value.exit_code == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["finished"] == 1 and len(facts["failed"]) == 1 and Path(facts["report"]).exists()


def test_what_follow_ups_lack_is_told_by_their_place(study_file, tiny_recipe, tmp_path):
    tiny_recipe("bert")
    much = {"finetune": "probes", "seeds": [0], "tasks": ["probe_swap"], "settings": {"train_size": 10**6}}
    follow_ups = [much, {"eval": "perplexity"}, {"eval": "perplexity", "corpus": "nowhere/*.txt"}]
    axes = {"model.activation.name": ["gelu", "raf"]}
    path = study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": follow_ups}])
    with pytest.raises(BadInput) as caught:
        planned(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}:") and "experiments.0.follow_ups.0: probe_swap has" in first
    assert second.startswith(f"{path}:") and "experiments.0.follow_ups.2: nowhere/*.txt: matches no file" in second


def test_launcher_options_of_another_launcher_are_refused(study, tmp_path):
    with pytest.raises(BadInput, match=r"job=.*expected key=value"):
        cli.run(study(), launcher="slurm", launcher_set=["=job="], runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("launcher", "options", "expected"),
    [
        ("locl", {}, "did you mean 'local'?"),
        ("local", {"job": "2"}, "did you mean 'jobs'?"),
        ("local", {"jobs": "0"}, "no number of jobs"),
    ],
)
def test_a_launcher_that_cannot_be_opened(tmp_path, launcher, options, expected):
    with pytest.raises(BadInput) as caught:
        open_launcher(launcher, tmp_path, tmp_path, options)
    assert expected in str(caught.value)
