"""A study on a real Ray of two nodes: Ctrl-C and a lost node cost nothing but time, and what is wrong is told."""

import signal
import subprocess

import pytest
from conftest import COMMAND
from test_pretrain import results
from test_slurm import steps, undisturbed, wait_for

from actbench.errors import BadInput
from actbench.store import Run
from actbench.study.launchers import open_launcher

pytest.importorskip("ray")


def test_ctrl_c_and_a_lost_node_leave_no_trace_in_the_results(ray_cluster, study_file, tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 400}, checkpoint={"every_steps": 20}, validation={"every_steps": 200})
    path = study_file(experiments=[{"recipe": recipe.name, "axes": {"seed": [0, 1]}}])
    command = [COMMAND, "study", "run", path, "--launcher", "ray", "--launcher-set", f"address={ray_cluster.address}"]

    def begun():
        return sorted((tmp_path / "runs").glob("tiny-*"))

    def start(beyond):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: (len(begun()) == 2 and min(map(steps, begun())) > beyond) or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
        return process

    stopped = start(beyond=9)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(60) == 130, stopped.stderr.read()
    described = [(folder / "run.json").read_bytes() for folder in begun()]
    reached = [steps(folder) for folder in begun()]
    assert [Run(folder).status for folder in begun()] == ["interrupted"] * 2
    assert all((folder / "checkpoints" / "last.ckpt").exists() for folder in begun())

    crippled = start(beyond=max(reached) + 20)
    ray_cluster.lose_a_node()
    _, said = crippled.communicate(timeout=120)
    assert crippled.returncode == 0, said
    assert [(folder / "run.json").read_bytes() for folder in begun()] == described, (
        "they went on, they did not start over"
    )
    for folder, seed in zip(begun(), (0, 1), strict=True):
        assert results(folder) == results(undisturbed(recipe, tmp_path / "whole", f"seed={seed}").folder)


def test_what_ray_does_not_take_is_told_at_once(tmp_path):
    for options, told in (
        ({"address": "127.0.0.1:9"}, "no Ray cluster at 127.0.0.1:9"),
        ({"adress": "auto"}, "did you mean 'address'"),
        ({"num_cpus": "two"}, "launcher-set"),
    ):
        with pytest.raises(BadInput, match=told):
            open_launcher("ray", tmp_path, tmp_path / "study", options)
