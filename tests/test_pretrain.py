"""Pre-training through the installed command: paired, resumable to the last bit, found again, and safe to kill."""

import json
import shutil
import signal
import subprocess
import time

import pytest
from conftest import COMMAND, ROOT
from forked import Forked


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def the_run(runs):
    (folder,) = [path.parent for path in runs.glob("*/run.json")]
    return folder


def results(folder):
    """All that must be equal between two runs of the same recipe: every number but the clock's."""
    clock = ("seconds", "tokens_per_second")
    rows = [{key: value for key, value in row.items() if key not in clock} for row in rows_of(folder)]
    return rows, (folder / "model.safetensors").read_bytes()


def words(recipe, runs):
    return ["pretrain", "--recipe", str(recipe), "--runs", str(runs)]


def wait_for_step(process, runs, step, timeout=200):  # a slow machine compiles for more than a minute
    """Until the run has logged `step` and has a checkpoint."""
    end = time.time() + timeout
    while time.time() < end and process.poll() is None:
        for metrics in runs.glob("*/metrics.jsonl"):
            lines = metrics.read_text().split("\n")[:-1]  # the last may be in the middle of being written
            saved = (metrics.parent / "checkpoints" / "last.ckpt").exists()
            if saved and lines and json.loads(lines[-1])["step"] >= step:
                return
        time.sleep(0.005)
    ended = process.poll()
    if ended is None:
        process.send_signal(signal.SIGKILL)
    raise AssertionError(f"never reached step {step}: {ended} {process.communicate()[1]}")


def left_unfinished(recipe, runs, step):
    """The folder of a run that was killed after `step`."""
    process = Forked(words(recipe, runs), runs.parent)
    wait_for_step(process, runs, step)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    folder = the_run(runs)
    assert not (folder / "manifest.json").exists()
    return folder


@pytest.mark.parametrize("family", ["bert", "gpt"])
@pytest.mark.parametrize("where", ["mid-epoch", "at an epoch's end"])
def test_a_run_killed_and_resumed_ends_with_the_same_bits(actbench, tiny_recipe, tmp_path, family, where):
    """Dropout is on, and a validation is due at every checkpoint."""
    every, steps, batch = 7, 90, {"sequences": 8, "accumulate": 2}
    if where == "at an epoch's end":
        dry = actbench("pretrain", "-r", tiny_recipe(family), "--dry-run", "--json", check=0)
        content = 30 if family == "bert" else 32
        every = json.loads(dry.stdout)["training_tokens_available"] // content // 8
        steps, batch = 2 * every + 20, {"sequences": 8}
    recipe = tiny_recipe(
        family,
        batch=batch,
        budget={"steps": steps},
        checkpoint={"every_steps": every},
        validation={"every_steps": every},
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    actbench("pretrain", "-r", recipe, "--runs", whole, check=0)

    left_unfinished(recipe, killed, every + 3)
    actbench("pretrain", "-r", recipe, "--runs", killed, "--resume", check=0)

    assert results(the_run(killed)) == results(the_run(whole))


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.timeout(600)
def test_a_compiled_run_resumes_with_the_same_bits_too(actbench, tiny_recipe, tmp_path):
    """With coefficients that are unfrozen while it runs."""
    recipe = tiny_recipe(
        model={"activation": {"name": "raf"}, "n_layers": 1},  # another layer is another minute of compiling
        optimizer={"activation": {"unfreeze_after": 13}},
        hardware={"compile": "always"},
        budget={"steps": 250},
        checkpoint={"every_steps": 9},
        logging={"every_steps": 4},
    )
    left_unfinished(recipe, tmp_path / "killed", 20)
    actbench("pretrain", "-r", recipe, "--runs", "killed", "--resume", check=0)
    actbench("pretrain", "-r", recipe, "--runs", "whole", check=0)
    assert results(the_run(tmp_path / "killed")) == results(the_run(tmp_path / "whole"))


def test_an_unfinished_run_is_not_touched_without_resume(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 2000})
    folder = left_unfinished(recipe, tmp_path / "runs", 9)
    before = (folder / "metrics.jsonl").read_bytes()
    done = actbench("pretrain", "-r", recipe, check=2)
    assert "--resume" in done.stderr and folder.name in done.stderr
    assert (folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_state_and_names_itself_in_the_exit_code(actbench, tiny_recipe, tmp_path, number, code):
    recipe = tiny_recipe(budget={"steps": 150}, checkpoint={"every_steps": 5})
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    command = [COMMAND, *words(recipe, stopped)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for_step(process, stopped, 20)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "--resume" in errors
    actbench("pretrain", "-r", recipe, "--runs", stopped, "--resume", check=0)
    actbench("pretrain", "-r", recipe, "--runs", whole, check=0)
    assert results(the_run(stopped)) == results(the_run(whole))


def test_a_run_killed_between_its_last_step_and_its_manifest_is_finished_by_resume(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe()
    actbench("pretrain", "-r", recipe, check=0)
    folder = the_run(tmp_path / "runs")
    whole = results(folder)
    for name in ("manifest.json", "model.safetensors", "activations.json"):
        (folder / name).unlink()
    actbench("pretrain", "-r", recipe, "--resume", check=0)
    assert results(folder) == whole and (folder / "manifest.json").exists()


def test_two_processes_cannot_train_the_same_run(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 5000})
    process = Forked(words(recipe, tmp_path / "runs"), tmp_path)
    try:
        wait_for_step(process, tmp_path / "runs", 5)
        done = actbench("pretrain", "-r", recipe, "--resume", check=2)
        assert "another process" in done.stderr
        listed = json.loads(actbench("runs", "list", "--json", check=0).stdout)["runs"]
        assert [row["status"] for row in listed] == ["running"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_finished_run_is_found_and_not_trained_again(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe()
    first = json.loads(actbench("pretrain", "-r", recipe, "--json", check=0).stdout)
    folder = tmp_path / first["folder"]
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    again = actbench("pretrain", "-r", recipe, "--json", check=0)
    assert json.loads(again.stdout) == first
    assert "finished" in again.stderr
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    other = json.loads(actbench("pretrain", "-r", recipe, "--seed", 1, "--json", check=0).stdout)
    assert other["run"] != first["run"]


def test_changed_text_is_another_run(actbench, tiny_recipe, tmp_path, corpus_file):
    text = tmp_path / "own.jsonl"
    lines = corpus_file.read_text().splitlines(keepends=True)
    text.write_text("".join(lines))
    recipe = tiny_recipe(corpus={"files": [str(text)]})
    first = json.loads(actbench("pretrain", "-r", recipe, "--json", "--dry-run", check=0).stdout)["run"]
    text.write_text("".join(lines[:-1]))
    assert json.loads(actbench("pretrain", "-r", recipe, "--json", "--dry-run", check=0).stdout)["run"] != first


def test_logging_and_the_name_do_not_change_what_is_computed(actbench, tiny_recipe, tmp_path):
    actbench("pretrain", "-r", tiny_recipe(), "--runs", "a", check=0)
    actbench(
        "pretrain",
        "-r",
        tiny_recipe(name="other", logging={"every_steps": 3, "tensorboard": True}),
        "--runs",
        "b",
        check=0,
    )
    a, b = the_run(tmp_path / "a"), the_run(tmp_path / "b")
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    assert a.name.rpartition("-")[2] == b.name.rpartition("-")[2]
    assert list((b / "tensorboard").glob("events.out.tfevents.*"))


def test_a_run_folder_holds_what_its_readme_says_and_verifies(actbench, tiny_recipe, tmp_path):
    folder = tmp_path / json.loads(actbench("pretrain", "-r", tiny_recipe(), "--json", check=0).stdout)["folder"]
    manifest = json.loads((folder / "manifest.json").read_text())
    recorded = {"run.json", "recipe.yaml", "metrics.jsonl", "model.safetensors", "tokenizer.json"}
    assert set(manifest["files"]) == recorded | {"activations.json", "activation_inputs.safetensors"}
    assert manifest["summary"]["steps"] == 12 and manifest["summary"]["tokens"] == 12 * 8 * 32
    actbench("recipe", "check", folder / "recipe.yaml", check=0)
    actbench("runs", "show", folder.name, "--verify", check=0)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert "model.safetensors" in actbench("runs", "show", folder.name, "--verify", check=1).stderr


def test_a_loss_that_is_no_number_fails_the_run_and_saves_nothing(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe(
        optimizer={"lr": 1e38, "clip_norm": None}, checkpoint={"every_steps": 1}, logging={"every_steps": 100}
    )
    done = actbench("pretrain", "-r", recipe, check=1)
    assert "finite" in done.stderr
    folder = the_run(tmp_path / "runs")
    assert "finite" in json.loads((folder / "failure.json").read_text())["reason"]
    assert not (folder / "checkpoints" / "last.ckpt").exists()
    assert json.loads(actbench("runs", "list", "--json").stdout)["runs"][0]["status"] == "failed"


def test_a_validation_loss_that_is_no_number_fails_the_run(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe(
        optimizer={"lr": 1e38, "clip_norm": None}, validation={"every_steps": 1}, logging={"every_steps": 100}
    )
    assert "finite" in actbench("pretrain", "-r", recipe, check=1).stderr
    assert json.loads(actbench("runs", "list", "--json").stdout)["runs"][0]["status"] == "failed"


@pytest.mark.parametrize(
    "sections, told",
    [
        ({"tokenizer": {"kind": "byte_bpe"}}, "wordpiece"),
        ({"batch": {"length": 4096}}, "shorter than one sequence"),
        ({"batch": {"sequences": 4096}}, "fewer than one batch"),
    ],
)
def test_what_cannot_run_is_told_before_a_folder_is_made(actbench, tiny_recipe, tmp_path, sections, told):
    assert told in actbench("pretrain", "-r", tiny_recipe(**sections), "--dry-run", check=2).stderr
    assert told in actbench("pretrain", "-r", tiny_recipe(**sections), check=2).stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_is_not_continued_in_another_precision(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 2000})
    record = left_unfinished(recipe, tmp_path / "runs", 9) / "run.json"
    info = json.loads(record.read_text())
    other = {"bf16": "fp32", "fp32": "bf16"}[info["hardware"]["precision"]]
    info["hardware"]["precision"] = other
    record.write_text(json.dumps(info))
    assert f"precision {other}" in actbench("pretrain", "-r", recipe, "--resume", check=2).stderr


def test_a_damaged_checkpoint_is_named(actbench, tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 2000})
    checkpoint = left_unfinished(recipe, tmp_path / "runs", 9) / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "last.ckpt" in actbench("pretrain", "-r", recipe, "--resume", check=2).stderr


def test_budgets_in_tokens_and_minutes_end_where_they_say(actbench, tiny_recipe):
    tokens = tiny_recipe(budget={"steps": None, "tokens": 8 * 32 * 7 + 5})
    assert json.loads(actbench("pretrain", "-r", tokens, "--json", check=0).stdout)["steps"] == 7
    minutes = tiny_recipe(budget={"steps": None, "minutes": 0.05})
    assert 3 <= json.loads(actbench("pretrain", "-r", minutes, "--json", check=0).stdout)["seconds"] < 10


def test_progress_is_plain_lines_when_not_on_a_terminal(actbench, tiny_recipe):
    lines = actbench("pretrain", "-r", tiny_recipe(), check=0).stderr.splitlines()
    assert any("validation loss" in line for line in lines)
    assert any("tokens/s" in line for line in lines)
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_an_own_activation_is_one_file_and_travels_with_its_run(actbench, tiny_recipe, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "import torch\n"
        "from actbench.activations import Activation, register\n\n"
        '@register("softsign2")\n'
        "class SoftSign2(Activation):\n"
        "    def __init__(self, sharpness: float = 1.0):\n"
        "        super().__init__()\n"
        "        self.sharpness = torch.nn.Parameter(torch.tensor(sharpness))\n\n"
        "    def compute(self, x):\n"
        "        return x * x / (1 + (self.sharpness * x).abs())\n"
    )
    override = ["--set", "model.activation={name: ./mine.py:SoftSign2, sharpness: 2.0}"]
    first = json.loads(actbench("pretrain", "-r", tiny_recipe(), *override, "--json", check=0).stdout)
    slots = json.loads((tmp_path / first["folder"] / "activations.json").read_text())["slots"]
    assert slots[0]["initial"]["sharpness"] == 2.0 != slots[0]["final"]["sharpness"]
    own.write_text(own.read_text().replace("x * x", "x"))
    assert (
        json.loads(actbench("pretrain", "-r", tiny_recipe(), *override, "--json", "--dry-run").stdout)["run"]
        != first["run"]
    )
    second = json.loads(actbench("pretrain", "-r", tiny_recipe(), *override, "--json", check=0).stdout)
    own.unlink()
    actbench("eval", "perplexity", first["run"], second["run"], check=0)
    actbench("plot", "activations", first["run"], "-o", "own.svg", check=0)


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes" / "nano").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_nano_recipes_train(actbench, recipe):
    few = ("--set", "budget.steps=3", "--set", "hardware.compile=never", "--set", "validation.sequences=32")
    result = json.loads(actbench("pretrain", "-r", recipe, *few, "--json", check=0).stdout)
    assert result["steps"] == 3 and 4 < result["validation_loss"] < 9


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path):
    """The atomic writer is what every file of a run goes through: an error in mid-write changes nothing."""
    from actbench.store.atomic import replacing

    path = tmp_path / "last.ckpt"
    path.write_bytes(b"good")
    with pytest.raises(OSError), replacing(path) as temporary:
        temporary.write_bytes(b"half of a")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
