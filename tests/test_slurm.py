"""A study's tasks on a real Slurm: requeued without a trace, taken up again, stopped with their state."""

import json
import os
import signal
import subprocess
import time

import pytest
from test_pretrain import results

from actbench.config import load_recipe
from actbench.errors import BadInput
from actbench.store import Run
from actbench.study.launchers import open_launcher, slurm
from actbench.study.tasks import Task
from actbench.training.plan import plan
from actbench.training.pretrain import pretrain

pytest.importorskip("submitit")

LONG = {"budget": {"steps": 300}, "checkpoint": {"every_steps": 1000}, "validation": {"every_steps": 150}}


@pytest.fixture
def launcher(slurm_cluster, tmp_path, monkeypatch):
    """Opens a launcher over tmp_path/runs, a study's folder in it; looks at the queue often."""
    for name, value in slurm_cluster.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm, "QUEUE_S", 1.0)
    runs = tmp_path / "runs"
    opened = []

    def open_one(**options):
        folder = runs / f"study-{tmp_path.name.replace('_', '-')}"
        opened.append(open_launcher("slurm", runs, folder, options))
        return opened[-1]

    yield open_one
    for one in opened:
        one._cancel()


def task(recipe, runs, *overrides):
    """The pre-training of a recipe."""
    loaded = load_recipe(recipe, overrides)
    run = plan(loaded, runs, lambda message: None).folder.name
    return Task(run, (run,), loaded)


def steps(folder):
    """How many steps the run has logged."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("\n")), default=0)


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def queue(*columns):
    """What squeue says of all jobs."""
    command = ["squeue", "--noheader", "--array", f"--format={' '.join(columns)}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def undisturbed(recipe, runs, *overrides):
    """The same run, here and at once."""
    return pretrain(plan(load_recipe(recipe, overrides), runs, print), resume=False, say=print)


def test_a_job_that_is_preempted_and_warned_ends_with_the_same_bits(launcher, tiny_recipe, tmp_path):
    """A more urgent job, as an administrator's requeue, sends SIGTERM; the warning before the time is up SIGUSR2."""
    recipe = tiny_recipe(**LONG)
    one, opened = task(recipe, tmp_path / "runs"), launcher()
    folder = tmp_path / "runs" / one.run_ids[0]
    opened.submit([one])
    (job,), described = opened.jobs, b""
    urgent = ["sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true"]
    for disturb in (urgent, ["scancel", "--signal=USR2", job]):
        before = steps(folder)
        wait_for(lambda at=before: steps(folder) > at + 9)
        subprocess.run(disturb, check=True)
        wait_for(lambda: f"{job}PENDING" in queue("%i%T"))
        assert 0 < steps(folder) < 300 and (folder / "checkpoints" / "last.ckpt").exists()
        described = described or (folder / "run.json").read_bytes()
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)
    assert opened.ended() == [(one, "")]
    assert (folder / "run.json").read_bytes() == described, "it went on, it did not start over"
    assert results(folder) == results(undisturbed(recipe, tmp_path / "whole").folder)


def test_a_study_that_is_started_again_takes_up_its_jobs(launcher, tiny_recipe, tmp_path):
    runs = tmp_path / "runs"
    recipe = tiny_recipe()
    tasks = [task(recipe, runs, f"seed={seed}") for seed in range(2)]
    first = launcher()
    first.submit(tasks)
    first.stop(signal.SIGTERM)  # the study's process ends; the jobs go on
    again = launcher()
    again.submit(tasks)
    assert again.jobs == first.jobs and sorted(queue("%i")) == sorted(first.jobs)
    ended = []
    while again.jobs:
        ended += again.ended()
    assert {one.title: reason for one, reason in ended} == {one.title: "" for one in tasks}
    assert all(Run(runs / one.run_ids[0]).manifest for one in tasks)


def test_a_follow_up_done_in_part_is_taken_up_too(tmp_path):
    opened = object.__new__(slurm.SlurmLauncher)
    opened.jobs, opened._former = {}, {("a", "b"): "7", ("c",): "8"}
    left = Task("the rest", ("b",))
    opened.submit([left])
    assert opened.jobs == {"7": left} and opened._former == {("c",): "8"}


def test_after_ctrl_c_no_job_is_left_and_each_has_saved_its_state(launcher, tiny_recipe, tmp_path):
    runs = tmp_path / "runs"
    recipe = tiny_recipe(**LONG)
    tasks = [task(recipe, runs, f"seed={seed}") for seed in range(3)]
    opened = launcher(array_parallelism="1")
    opened.submit(tasks)
    wait_for(lambda: any(steps(runs / one.run_ids[0]) > 5 for one in tasks))
    opened.stop(signal.SIGINT)
    assert queue("%i") == []
    (begun,) = runs.glob("tiny-*")
    assert (begun / "checkpoints" / "last.ckpt").exists() and Run(begun).status == "interrupted"


def test_what_a_job_says_and_how_it_died_is_told(launcher, tiny_recipe, tmp_path):
    runs = tmp_path / "runs"
    bad = task(tiny_recipe(optimizer={"lr": 1e38, "clip_norm": None}), runs)
    killed = task(tiny_recipe(**LONG), runs)
    opened = launcher()
    opened.submit([bad, killed])
    wait_for(lambda: steps(runs / killed.run_ids[0]) > 5)
    (job,) = [job for job, one in opened.jobs.items() if one is killed]
    subprocess.run(["scancel", "--signal=KILL", job], check=True)
    reasons = {}
    while len(reasons) < 2:
        reasons |= {one.title: reason for one, reason in opened.ended()}
    assert "finite" in reasons[bad.title] and "log" in reasons[bad.title]
    assert "CANCELLED" in reasons[killed.title] and job in reasons[killed.title]


def test_what_slurm_does_not_take_is_told_at_once(launcher, tiny_recipe, tmp_path):
    one = task(tiny_recipe(), tmp_path / "runs")
    with pytest.raises(BadInput, match="partition"):
        launcher(partition="gpus").submit([one])
    with pytest.raises(BadInput, match="did you mean 'partition'"):
        launcher(partitoin="gpus")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30", 2), ("2:00:00", 120), ("1-0", 1440), ("1-12:30", 2190), ("0-0:0:1", 1), ("1-2:3:4", 1564)],
)
def test_times_are_read_as_slurm_reads_them(text, minutes):
    assert slurm._minutes(text) == minutes


@pytest.mark.parametrize(
    "option", ["time=soon", "time=1:2:3:4", "keep_jobs=perhaps", "max_num_timeout=many", "additional_parameters=x"]
)
def test_a_value_that_cannot_be_is_told(option, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "srun").touch(mode=0o755)
    key, _, value = option.partition("=")
    with pytest.raises(BadInput, match=f"launcher-set {key}"):
        open_launcher("slurm", tmp_path, tmp_path / "study", {key: value})
