"""A study on a real Ray of two nodes: a lost node and Ctrl-C cost nothing but time, and what is wrong is told."""

import signal
import subprocess

import pytest
import torch
from conftest import COMMAND
from studies import carry_out
from test_pretrain import results
from test_slurm import steps, undisturbed, wait_for

from actbench.errors import BadInput
from actbench.store import Run
from actbench.study.launchers import open_launcher

pytest.importorskip("ray")


def test_a_lost_node_and_ctrl_c_leave_no_trace_in_the_results(ray_cluster, study_file, tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 480}, checkpoint={"every_steps": 10}, validation={"every_steps": 240})
    path = study_file(experiments=[{"recipe": recipe.name, "axes": {"seed": [0, 1]}}])
    command = [COMMAND, "study", "run", path, "--launcher", "ray", "--launcher-set", f"address={ray_cluster.address}"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    def begun():
        return sorted((tmp_path / "runs").glob("tiny-*"))

    wait_for(lambda: (len(begun()) == 2 and min(map(steps, begun())) > 12) or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    ray_cluster.lose_a_node()
    described = tuple((folder / "run.json").read_bytes() for folder in begun())

    wait_for(lambda: any(Run(folder).manifest for folder in begun()))
    (lost,) = (number for number, folder in enumerate(begun()) if Run(folder).manifest is None)
    wait_for(lambda: Run(begun()[lost]).status == "interrupted")  # a lost node's worker goes on for some steps
    reached = steps(begun()[lost])
    wait_for(lambda: steps(begun()[lost]) > reached + 10)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130 and "goes on from here" in said, said
    at = steps(begun()[lost])
    checkpoint = torch.load(begun()[lost] / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == at < 480, "the state of the step at which it stopped"

    assert not carry_out(path).failed
    assert tuple((folder / "run.json").read_bytes() for folder in begun()) == described, "neither started over"
    for seed in (0, 1):
        whole = undisturbed(recipe, tmp_path / "whole", f"seed={seed}")
        assert results(tmp_path / "runs" / whole.id) == results(whole.folder)


def test_what_ray_does_not_take_is_told_at_once(tmp_path):
    for options, told in (
        ({"address": "127.0.0.1:9"}, "no Ray cluster at 127.0.0.1:9"),
        ({"adress": "auto"}, "did you mean 'address'"),
        ({"jobs": "2"}, "--jobs: only the local launcher"),
        ({"num_cpus": "two"}, "launcher-set"),
    ):
        with pytest.raises(BadInput, match=told):
            open_launcher("ray", tmp_path, tmp_path / "study", options)
