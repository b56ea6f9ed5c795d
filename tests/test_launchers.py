"""The same study file on this machine, on Slurm and on Ray: equal numbers."""

import os
import time

import pytest
from studies import carry_out
from test_pretrain import results

from actbench.cli import study as cli
from actbench.errors import BadInput
from actbench.store import list_runs
from actbench.study.launchers import open_launcher, slurm


def numbers(runs):
    """All that must be equal: losses, weights, scores."""
    found = {}
    for run in list_runs(runs):
        if run.kind == "pretrain":
            found[run.id] = results(run.folder)
        else:
            found[run.id] = {key: value for key, value in run.summary.items() if key != "seconds"}
    return found


@pytest.fixture
def study(study_file, tiny_recipe):
    """Two pre-trainings, each with a follow-up."""
    tiny_recipe("bert")
    probes = {"finetune": "probes", "seeds": [0], "tasks": ["probe_swap"], "settings": {"train_size": 20, "epochs": 1}}
    axes = {"model.activation.name": ["gelu", "raf"]}
    return study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": [probes]}])


@pytest.fixture
def on_slurm(slurm_cluster, monkeypatch):
    """How a study runs on Slurm."""
    for name, value in slurm_cluster.items():
        monkeypatch.setenv(name, value)
    return ["--launcher", "slurm"]


@pytest.fixture
def on_ray(ray_cluster):
    """How a study runs on Ray."""
    return ["--launcher", "ray", "--launcher-set", f"address={ray_cluster.address}"]


@pytest.mark.parametrize("where", ["on_slurm", "on_ray"])
def test_a_study_gives_equal_numbers_wherever_it_runs(where, request, actbench, study, tmp_path):
    actbench("study", "run", study, *request.getfixturevalue(where), "--runs", "there", timeout=280, check=0)
    assert not carry_out(study).failed
    here, there = numbers(tmp_path / "runs"), numbers(tmp_path / "there")
    assert len(here) == 4 and here == there


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Puts Slurm's clients on PATH, of which squeue does what it is told; returns how often it was called."""
    pytest.importorskip("submitit")
    programs, calls = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "AGAIN_S", 0.05)

    def write(does, opening_s=0.5):
        monkeypatch.setattr(slurm, "OPENING_S", opening_s)
        scripts = {"srun": "", "squeue": f"echo >> {calls}\n{does}\n", "sbatch": f"touch {tmp_path}/sent\n"}
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}")
            (programs / name).chmod(0o755)
        return lambda: calls.read_text().count("\n")

    return write


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (
            "echo 'squeue: error: failed to fetch config' >&2; echo 'squeue: fatal: no configuration' >&2; exit 1",
            "squeue: error: failed to fetch config; squeue: fatal: no configuration",
        ),
        ("exit 3", "squeue ended with 3"),
        ("exec sleep 60", "s in vain"),
    ],
)
def test_a_slurm_whose_controller_does_not_answer_is_told_before_anything_is_done(
    does, said, squeue, tiny_recipe, study_file, tmp_path
):
    tiny_recipe("bert")
    squeue(does)
    began, there = time.monotonic(), tmp_path / "there"
    with pytest.raises(BadInput, match=r"--launcher slurm: Slurm does not answer: .*slurmctld") as told:
        cli.run(study_file(), launcher="slurm", runs=there)
    assert said in str(told.value) and time.monotonic() - began < 20
    assert not there.exists() and not (tmp_path / "sent").exists()


def test_a_controller_that_is_restarting_is_asked_again(squeue, tmp_path):
    calls = squeue(f"[ $(wc -l < {tmp_path}/calls) -ge 3 ] || exit 1", opening_s=30.0)
    assert open_launcher("slurm", tmp_path / "runs", tmp_path / "runs" / "study", {}).jobs == {}
    assert calls() == 3
