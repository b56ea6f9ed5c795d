"""The same study file on this machine, on Slurm and on Ray: equal numbers."""

import pytest
from studies import carry_out
from test_pretrain import results

from actbench.store import list_runs


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
