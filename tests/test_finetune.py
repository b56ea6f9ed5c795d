"""Fine-tuning through the installed command: on GLUE's files, on the stand-ins, repeatable and never repeated."""

import json
import shlex
import shutil
import signal
import subprocess
import time

import forked
import numpy as np
import pytest
from conftest import COMMAND, write_recipe
from test_docs import CHEAP, commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus_file):
    """The folder of a tiny pre-trained BERT."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder, corpus_file, model={"activation": {"name": "raf"}})
    done = forked.run(["pretrain", "-r", str(recipe), "--json"], folder, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / json.loads(done.stdout)["folder"]


@pytest.fixture
def pretrained(trained, tmp_path):
    """Its name, and a copy of it among a test's own runs: a finished run never changes."""
    shutil.copytree(trained, tmp_path / "runs" / trained.name)
    return trained.name


@pytest.fixture
def glue(tmp_path):
    """Small made-up files in the layout of GLUE's CoLA, RTE and STS-B."""
    random = np.random.default_rng(0)
    words = ["river", "stone", "house", "wind", "child", "sees", "holds", "finds"]

    def sentence():
        return " ".join(random.choice(words, 6))

    folder = tmp_path / "GLUE"
    for name in ("CoLA", "RTE", "STS-B"):
        (folder / name).mkdir(parents=True)
    for split, rows in (("train", 60), ("dev", 20)):
        cola = [f"x\t{i % 2}\t\t{'the' if i % 2 else 'a'} {sentence()}" for i in range(rows)]
        (folder / "CoLA" / f"{split}.tsv").write_text("\n".join(cola) + "\n")
        labels = ("entailment", "not_entailment")
        rte = [f"{i}\t{sentence()}\t{sentence()}\t{labels[i % 2]}" for i in range(rows)]
        (folder / "RTE" / f"{split}.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tlabel", *rte]) + "\n")
        head = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
        sts = [f"{i}\tg\tf\ty\to\ts\ts\t{sentence()}\t{sentence()}\t{i % 6}.0" for i in range(rows)]
        (folder / "STS-B" / f"{split}.tsv").write_text("\n".join([head, *sts]) + "\n")
    return folder


def finetune(actbench, run, glue, *more, runs="runs", **options):
    arguments = ("finetune", "glue", "--from", run, "--data", glue, "--set", "epochs=2", "--runs", runs, "--json")
    return actbench(*arguments, *more, **options)


def test_each_task_and_seed_is_a_run_with_its_own_metrics(actbench, pretrained, glue, tmp_path):
    done = finetune(
        actbench, pretrained, glue, "--tasks", "cola,rte,stsb", "--train-size", 20, "--seeds", "0-1", check=0
    )
    results = json.loads(done.stdout)["results"]
    assert len({r["run"] for r in results}) == 6
    metrics = {r["task"]: set(r["scores"]["dev"]) for r in results}
    assert metrics == {"cola": {"matthews"}, "rte": {"accuracy"}, "stsb": {"pearson", "spearman", "mean"}}
    assert all(r["train_examples"] == 20 for r in results)
    info = json.loads((tmp_path / "runs" / results[0]["run"] / "run.json").read_text())
    assert info["parent"] == pretrained and info["finetune"]["train_size"] == 20
    again = finetune(
        actbench, pretrained, glue, "--tasks", "cola,rte,stsb", "--train-size", 20, "--seeds", "0-1", check=0
    )
    assert json.loads(again.stdout)["results"] == results
    assert again.stderr == "", "nothing is trained twice"


@pytest.mark.parametrize("tune", ["full", "bitfit+activation"])
def test_the_same_seed_gives_the_same_score_to_the_last_bit(actbench, pretrained, glue, tmp_path, tune):
    shutil.copytree(tmp_path / "runs" / pretrained, tmp_path / "again" / pretrained)
    select = ("--tasks", "cola", "--train-size", 20, "--tune", tune)
    one = json.loads(finetune(actbench, pretrained, glue, *select, check=0).stdout)["results"][0]
    two = json.loads(finetune(actbench, pretrained, glue, *select, runs="again", check=0).stdout)["results"][0]
    assert one["run"] == two["run"] and one["scores"] == two["scores"] and one["selection"] == two["selection"]
    learned = [(tmp_path / runs / one["run"] / "activations.json").read_bytes() for runs in ("runs", "again")]
    assert learned[0] == learned[1]


def test_fine_tuning_learns(actbench, pretrained, glue):
    """The made-up CoLA can be told by its first word: a model that learns must see it."""
    more = ("--tasks", "cola", "--set", "lr=5e-3", "--set", "epochs=20", "--set", "patience=null")
    result = json.loads(finetune(actbench, pretrained, glue, *more, check=0).stdout)["results"][0]
    assert result["scores"]["dev"]["matthews"] > 0.8


def test_the_learned_coefficients_move_in_fine_tuning_the_poolers_too(actbench, tiny_recipe, glue, tmp_path):
    pooler = {"slot": "pooler", "name": "raf", "init": "tanh"}
    recipe = tiny_recipe(model={"activation": {"name": "raf"}, "activation_overrides": [pooler]})
    run = json.loads(actbench("pretrain", "-r", recipe, "--json", check=0).stdout)["run"]
    result = json.loads(finetune(actbench, run, glue, "--tasks", "cola", check=0).stdout)["results"][0]
    slots = json.loads((tmp_path / "runs" / result["run"] / "activations.json").read_text())["slots"]
    assert [slot["name"] for slot in slots] == ["layers.0", "layers.1", "pooler"]
    assert all(slot["initial"] != slot["final"] for slot in slots)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("--tasks", "colla"), "did you mean 'cola'?"),
        (("--train-size", 46), "at most 45"),
        (("--seeds", "4-0"), "'4-0'"),
        (("--set", "learning_rate=1"), "unknown key"),
        (("--tune", "bitfti"), "--tune: tune: no mode 'bitfti' (did you mean 'bitfit'?)"),
        (("--tune", "random-bias:641"), "fewer biases than 641 (at most random-bias:640)"),
        (("--grid", "lrr=1"), "--grid lrr=1: lrr: unknown key (did you mean 'lr'?)"),
    ],
)
def test_bad_input_is_named_and_nothing_is_made(actbench, pretrained, glue, tmp_path, arguments, expected):
    done = finetune(
        actbench, pretrained, glue, *(("--tasks", "cola") if "--tasks" not in arguments else ()), *arguments
    )
    assert done.returncode == 2 and expected in done.stderr, done.stderr
    assert not list((tmp_path / "runs").glob("*cola*"))


def test_a_grid_shows_the_chosen_point_alone_and_repeats_no_run(actbench, pretrained, glue, tmp_path):
    more = ("--tasks", "cola", "--seeds", "0-1", "--grid", "lr=1e-4,5e-3", "--grid", "activation_lr=1e-3,1e-2")
    found = json.loads(finetune(actbench, pretrained, glue, *more, check=0).stdout)
    ((task, points),) = (row.values() for row in found["grid"])
    assert task == "cola" and len(points) == 4 and all(point["seeds"] == 2 for point in points)
    assert [r["run"] for r in found["results"]] == points[0]["runs"]
    assert points[0]["selection"] == max(point["selection"] for point in points)
    assert len(list((tmp_path / "runs").glob("*cola*"))) == 8
    again = actbench("finetune", "glue", "--from", pretrained, "--data", glue, "--set", "epochs=2", *more, check=0)
    assert again.stderr == "", "nothing is trained twice"
    heads, _, row = (line.split() for line in again.stdout.splitlines())
    assert heads[-2:] == ["points", "chosen"]
    assert row[5:] == ["4", f"lr={points[0]['lr']:g}", f"activation_lr={points[0]['activation_lr']:g}"]


def test_the_commands_of_the_page_work(actbench, tiny_recipe):
    recipe = tiny_recipe(name="bert-nano", model={"activation": {"name": "raf"}})
    actbench("pretrain", "-r", recipe, check=0)
    found = [shlex.split(command) for command in commands("docs/fine-tuning.md")]
    assert {words[1] for words in found} == {"finetune", "runs"}
    for words in found:
        few = ["--tasks", "probe_swap", "--train-size", 20] if words[1] == "finetune" else []
        shown = actbench(*words[1:], *CHEAP.get(words[1], []), *few, check=0).stdout
        assert "activation_lr" in shown


def test_a_gpt_cannot_be_fine_tuned(actbench, tiny_recipe, glue):
    run = json.loads(actbench("pretrain", "-r", tiny_recipe("gpt"), "--json", check=0).stdout)["run"]
    assert "BERT" in finetune(actbench, run, glue, "--tasks", "cola", check=2).stderr


def test_without_data_and_network_one_message_says_what_to_do(actbench, pretrained):
    done = actbench("finetune", "glue", "--from", pretrained, "--tasks", "cola", check=2)
    assert "--data" in done.stderr and "finetune probes" in done.stderr


def test_probes_are_always_named_stand_ins(actbench, pretrained):
    done = actbench("finetune", "probes", "--from", pretrained, "--train-size", 20, "--set", "epochs=1", check=0)
    for name in ("probe_swap", "probe_order", "probe_overlap"):
        assert f"{name} (stand-in)" in done.stdout


def test_a_failing_run_stops_no_other_and_is_told(actbench, pretrained, glue, tmp_path):
    more = ("--tasks", "cola", "--seeds", "0-1", "--set", "lr=1e38")
    done = finetune(actbench, pretrained, glue, *more, check=1)
    assert json.loads(done.stdout)["results"] == []
    assert len(list((tmp_path / "runs").glob("*cola*/failure.json"))) == 2
    assert done.stderr.count("-s0-") >= 1 and "finite" in done.stderr


def test_jobs_share_the_runs_and_change_none(actbench, pretrained, glue, tmp_path):
    shutil.copytree(tmp_path / "runs" / pretrained, tmp_path / "jobs" / pretrained)
    select = ("--tasks", "cola,rte", "--train-size", 20, "--seeds", "0-2", "--grid", "lr=1e-4,5e-4")
    alone = finetune(actbench, pretrained, glue, *select, check=0)
    side_by_side = finetune(actbench, pretrained, glue, *select, "--jobs", 2, runs="jobs", check=0)
    ours, theirs = (json.loads(done.stdout)["results"] for done in (side_by_side, alone))
    assert len(ours) == 6 and [r["run"] for r in ours] == [r["run"] for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["scores"]["dev"] == pytest.approx(other["scores"]["dev"], abs=0.15), "of twenty examples"
    assert side_by_side.stderr.count("-cola-20-") == 6
    threads = json.loads((tmp_path / "jobs" / ours[0]["run"] / "run.json").read_text())["hardware"]["threads"]
    assert threads == 1
    again = finetune(actbench, pretrained, glue, *select, "--jobs", 2, runs="jobs", check=0)
    assert json.loads(again.stdout)["results"] == ours and again.stderr == ""


def test_a_run_that_fails_among_jobs_stops_no_other_and_is_told(actbench, pretrained, glue, tmp_path):
    more = ("--tasks", "cola", "--seeds", "0-3", "--grid", "lr=1e-4,1e38", "--jobs", 2)
    done = finetune(actbench, pretrained, glue, *more, check=1)
    assert len(list((tmp_path / "runs").glob("*cola*/failure.json"))) == 4
    assert len(list((tmp_path / "runs").glob("*cola*/manifest.json"))) == 4
    assert "finite" in done.stderr


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_its_own_exit_code(pretrained, glue, tmp_path, number, code, jobs):
    words = ("finetune", "glue", "--from", pretrained, "--data", glue, "--tasks", "cola", "--set", "epochs=100000")
    command = [str(word) for word in (COMMAND, *words, "--set", "patience=null", "--seeds", "0-1", "--jobs", jobs)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    end = time.time() + 200  # a busy machine takes its time to import torch
    while time.time() < end and not list((tmp_path / "runs").glob("*cola*/metrics.jsonl")):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "stopped" in errors
