"""Runs spread over processes: the same numbers as in one, all stop together, and go on with the same bits.

Here the processes are two, on CPUs, connected by gloo.
"""

import json
import multiprocessing
import os
import signal
import socket
import threading
import time

import pytest
import torch
from forked import PRELOADED, SERVER, Forked
from studies import planned
from test_pretrain import results, rows_of, the_run, words

from actbench.config import load_recipe
from actbench.errors import BadInput, Interrupted, RunFailed
from actbench.evaluation.likelihood import _dealt
from actbench.store import Run
from actbench.study.launchers import local
from actbench.study.tasks import Task
from actbench.training import processes
from actbench.training.plan import plan
from actbench.training.pretrain import pretrain

pytestmark = pytest.mark.xdist_group("both cores")

STEPS = 50
POLYCOM = {"activation": {"name": "poly_norm"}}
CASES = {  # dropout, accumulation and validations that do not go round are in all
    "bert-ddp": ("bert", {"activation": {"name": "raf"}}, "ddp"),
    "gpt-ddp": ("gpt", POLYCOM, "ddp"),
    "gpt-fsdp": ("gpt", POLYCOM, "fsdp"),
}


@pytest.fixture(params=CASES)
def spread(tiny_recipe, request):
    """A recipe for two processes."""
    family, model, strategy = CASES[request.param]
    return tiny_recipe(
        family,
        model=model,
        batch={"sequences": 8, "accumulate": 2},
        budget={"steps": STEPS},
        validation={"sequences": 17, "every_steps": 20},
        checkpoint={"every_steps": 20},
        logging={"every_steps": 3},
        hardware={"precision": "fp32", "strategy": strategy, "devices": 2},
    )


def numbers(folder, kind):
    return [row["loss"] for row in rows_of(folder) if row["kind"] == kind]


def train(recipe, runs, resume=False):
    """In processes of this one's own: they are forked from the server that forks commands, so they have all imports."""
    SERVER.set_forkserver_preload(PRELOADED)
    return pretrain(plan(load_recipe(recipe), runs, print), resume=resume, say=print)


def stop_at_step(step, runs):
    """Sends this process SIGTERM once the run has logged the step."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        for checkpoint in runs.glob("*/checkpoints/last.ckpt"):
            if Run(checkpoint.parents[1]).metrics()[-1]["step"] >= step:
                os.kill(os.getpid(), signal.SIGTERM)
                return
        time.sleep(0.01)


@pytest.mark.timeout(600)  # on a busy machine every exchange waits for both processes to be scheduled
def test_two_processes_train_as_one_does_and_go_on_with_the_same_bits(actbench, spread, tmp_path):
    one, whole, stopped = (tmp_path / name for name in ("one", "whole", "stopped"))
    alone = ["--set", "hardware.strategy=single", "--set", "hardware.devices=1"]
    actbench("pretrain", "-r", spread, *alone, "--runs", one, check=0)
    run = train(spread, whole)
    assert the_run(one).name == run.id, "how a run is spread is no part of its identity"
    for kind in ("train", "validation"):
        expected, found = numbers(the_run(one), kind), numbers(run.folder, kind)
        assert len(expected) > 2
        assert found == pytest.approx(expected, rel=1e-6, abs=0), kind
    assert run.summary["steps"] == STEPS
    assert run.info["hardware"]["devices"] == 2

    former = signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=stop_at_step, args=(21, stopped), daemon=True).start()
    with pytest.raises(Interrupted, match="--resume") as interrupted:
        train(spread, stopped)
    signal.signal(signal.SIGTERM, former)
    assert interrupted.value.exit_code == 143
    checkpoint = torch.load(the_run(stopped) / "checkpoints" / "last.ckpt", weights_only=True)
    assert 20 < checkpoint["global_step"] < STEPS
    refused = actbench("pretrain", "-r", spread, *alone, "--runs", stopped, "--resume", check=2)
    assert "hardware.strategy" in refused.stderr
    assert results(train(spread, stopped, resume=True).folder) == results(run.folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("strategy", "over"), [("ddp", "micro_batch"), ("fsdp", "step")])
def test_experts_are_balanced_over_the_whole_batch(actbench, tiny_recipe, tmp_path, strategy, over):
    """The load that a router's loss evens out is that of all processes, and so is what is logged."""
    moe = {"experts": 4, "top_k": 2, "d_expert": 16, "load_balance": 0.5, "load_balance_over": over}
    recipe = tiny_recipe(
        "gpt",
        model={"d_ff": None, "moe": moe},
        batch={"sequences": 8, "accumulate": 2},
        budget={"steps": 6},
        validation={"every_steps": 3},
        logging={"every_steps": 2},
        hardware={"precision": "fp32", "strategy": strategy, "devices": 2, "checkpoint_activations": over == "step"},
    )
    alone = ["--set", "hardware.strategy=single", "--set", "hardware.devices=1"]
    actbench("pretrain", "-r", recipe, *alone, "--runs", tmp_path / "one", check=0)
    run, one = train(recipe, tmp_path / "two"), Run(the_run(tmp_path / "one"))
    for kind, keys in (
        ("train", ("loss", "load_balance", "router_z", "grad_norm")),
        ("validation", ("loss", "load_balance", "router_entropy", "busiest_expert", "dropped_tokens")),
    ):
        each = [[row for row in found.metrics() if row["kind"] == kind] for found in (one, run)]
        expected, found = ([row[key] for row in rows for key in keys] for rows in each)
        assert found == pytest.approx(expected, rel=1e-5) and len(expected) > len(keys)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


STARTED = {
    "torchrun": lambda rank, port: {
        "TORCHELASTIC_RUN_ID": "x", "RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    },
    "srun": lambda rank, port: {
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": rank,
        "SLURM_LOCALID": "0", "SLURM_NODEID": rank, "SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_ID": "7",
        "MASTER_PORT": port,
    },
}  # fmt: skip


@pytest.mark.parametrize("starter", STARTED)
def test_processes_that_were_started_elsewhere_find_each_other(tiny_recipe, tmp_path, monkeypatch, starter):
    """As torchrun's on one node, and as srun's on two. The first alone writes and talks; an error reaches both."""
    stated = {"torchrun": 0.001, "srun": "measured"}[starter]
    hardware = {"strategy": "ddp", "devices": 2 if starter == "torchrun" else 1, "peak_tflops": stated}
    recipe = tiny_recipe(hardware=hardware)
    nodes = ["--set", f"hardware.nodes={1 if starter == 'torchrun' else 2}", "--json"]

    def both(*more):
        port, ranks = free_port(), []
        for rank in "01":
            with monkeypatch.context() as patch:
                for name, value in STARTED[starter](rank, port).items():
                    patch.setenv(name, value)
                ranks.append(Forked([*words(recipe, tmp_path / "runs"), *nodes, *more], tmp_path))
        return [(*one.communicate(timeout=100), one.wait()) for one in ranks]

    (first, told, code), (second, silent, other) = both()
    assert (code, other) == (0, 0), told + silent
    summary, flops = json.loads(first), Run(the_run(tmp_path / "runs")).info["model"]["flops_per_token"]
    assert summary["steps"] == 12 and not second
    peak, measured = summary["peak"]["tflops"], summary["peak"]["measured_at"]
    assert (peak, measured) == (stated, None) if starter == "torchrun" else peak > 0.001 and measured >= 256
    of_two = 2e12 * peak
    assert summary["mfu"] == pytest.approx(summary["tokens_per_second"] * flops / of_two, abs=1e-3)
    assert "validation loss" in told and "loss" not in silent

    (the_run(tmp_path / "runs") / "manifest.json").unlink()
    (_, told, code), (_, silent, other) = both()
    assert (code, other) == (2, 2) and "--resume" in told and "--resume" not in silent

    (_, told, code), (_, _, other) = both("--set", "hardware.devices=4")
    assert (code, other) == (2, 2) and "hardware.devices" in told and "2 processes were started" in told


def end(code):
    os._exit(code)


def hang(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    path.touch()
    time.sleep(100)


def test_where_one_process_dies_none_is_left_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 0.3)
    context = multiprocessing.get_context("forkserver")
    stuck, ready = context.Process(target=hang, args=(tmp_path / "ready",)), tmp_path / "ready"
    stuck.start()
    while not ready.exists():
        time.sleep(0.02)
    killed = context.Process(target=end, args=(1,), name="process 1 of 2")
    killed.start()
    began = time.monotonic()
    assert processes._watch([stuck, killed], lambda: False)[0] is killed
    assert time.monotonic() < began + 10 and not stuck.is_alive()


class Ended:
    def __init__(self, exitcode, name="process 0 of 2"):
        self.exitcode, self.name = exitcode, name


class Report:
    def __init__(self, said=None):
        self.said = said

    def poll(self):
        return self.said is not None

    def recv(self):
        return self.said


@pytest.mark.parametrize(
    ("ends", "error", "told"),
    [
        ([(1, (0, "connection closed")), (2, (2, "bad key"))], BadInput, "bad key"),
        ([(1, (0, "connection closed")), (1, (1, "no longer finite"))], RunFailed, "finite"),
        ([(143, (143, "stopped at step 3"))], Interrupted, "step 3"),
        ([(1, (0, "connection closed")), (-9, None)], RunFailed, "SIGKILL"),
        ([(1, (0, "OutOfMemoryError")), (1, (0, "connection closed"))], RunFailed, "OutOfMemory"),
        ([(7, None)], RunFailed, "without a word"),
    ],
)
def test_the_reason_is_told_not_what_followed_from_it(ends, error, told):
    ended = [Ended(code) for code, _ in ends]
    reports = {one: Report(said) for one, (_, said) in zip(ended, ends, strict=True)}
    found = processes._error(ended, reports)
    assert isinstance(found, error) and told in str(found)


@pytest.mark.parametrize(("said", "told"), [(None, "ended without a word"), ((0, "process 0: KeyError"), "KeyError")])
def test_a_closed_pipe_is_no_word(said, told):
    report, sender = multiprocessing.Pipe(duplex=False)
    if said:
        sender.send(said)
    sender.close()
    ended = Ended(1)
    assert told in str(processes._error([ended], {ended: report}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["hardware.devices=2"], "need a strategy"),
        (["hardware.strategy=ddp", "hardware.devices=3"], "cannot share 8 sequences"),
        (["hardware.strategy=fsdp", "hardware.devices=4", "batch.accumulate=4"], "cannot share 2 sequences"),
    ],
)
def test_what_cannot_be_shared_out_is_told_by_key(tiny_recipe, changes, told):
    with pytest.raises(BadInput, match=told) as caught:
        load_recipe(tiny_recipe(), changes)
    assert "hardware" in str(caught.value)


def test_several_nodes_are_not_started_from_here(actbench, tiny_recipe, tmp_path):
    several = ["--set", "hardware.strategy=ddp", "--set", "hardware.nodes=2"]
    done = actbench("pretrain", "-r", tiny_recipe(), *several, check=2)
    assert "hardware.nodes" in done.stderr and "torchrun" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_how_work_is_spread_is_no_part_of_the_identity(tiny_recipe):
    recipe = tiny_recipe()
    spread = ["strategy=fsdp", "devices=2", "nodes=4", "checkpoint_activations=true", "peak_tflops=312"]
    changed = load_recipe(recipe, [f"hardware.{one}" for one in spread])
    assert changed.identity() == load_recipe(recipe).identity()
    plain = load_recipe(recipe, ["hardware.compile=auto"])
    assert load_recipe(recipe, ["hardware.compile=auto", "hardware.checkpoint_activations=true"]).identity() == (
        plain.identity()
    )
    assert load_recipe(recipe, ["hardware.precision=bf16"]).identity() != load_recipe(recipe).identity()


@pytest.mark.parametrize("n_batches", [1, 2, 3, 5])
def test_batches_are_dealt_so_that_all_have_equally_many_and_each_counts_once(n_batches):
    batches = [{"targets": torch.tensor(number)} for number in range(n_batches)]
    dealt = [list(_dealt(batches, part, 3)) for part in range(3)]
    assert len({len(hand) for hand in dealt}) == 1
    counted = sorted(int(batch["targets"]) for hand in dealt for batch, counts in hand if counts)
    assert counted == list(range(n_batches))


def test_each_job_has_gpus_of_its_own_while_they_go_round(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5, 6")
    assert local.visible_gpus() == ["4", "5", "6"]
    launcher = local.LocalLauncher(tmp_path, tmp_path, jobs=4)
    one = Task("one", ("a",), load_recipe(tiny_recipe()))
    two = Task("two", ("b",), load_recipe(tiny_recipe(), ["hardware.strategy=ddp", "hardware.devices=2"]))
    for task, expected in ((one, ["4"]), (two, ["5", "6"]), (Task("follow-up", ("c",)), ["4"]), (one, ["5"])):
        assert launcher._gpus_for(task) == expected
        launcher._given[len(launcher._given)] = expected
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local.visible_gpus() == ["0", "1"]


def test_a_job_sees_its_gpus_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setattr(local, "perform", lambda task, runs: os.environ["CUDA_VISIBLE_DEVICES"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this is not a job's process
    receiver, sender = multiprocessing.Pipe(duplex=False)
    local._work(sender, Task("x", ("a",)), tmp_path, None, torch.get_num_threads(), ["5"])
    assert receiver.recv() == "5"


def test_a_study_gives_a_run_one_node(tiny_recipe, study_file):
    tiny_recipe(hardware={"strategy": "ddp", "nodes": 2})
    with pytest.raises(BadInput, match=r"hardware\.nodes"):
        planned(study_file())
