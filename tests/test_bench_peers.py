"""`actbench bench peers`: both sides do the same work, in turn, and what is missing or fails is told."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from conftest import ROOT
from model_sections import bert_section, gpt_section, ids, randomized
from torch.nn import functional as F
from torch.optim import optimizer

from actbench.bench import machine, output
from actbench.bench.peers import catalogue, datasets_map, hugging_face, ours, plain_loop, process
from actbench.bench.peers.catalogue import NAMES, PAIRS, Pair, chosen
from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import FinetuneOrder, PackOrder, PretrainOrder, Report
from actbench.bench.peers.prepare import Sizes, Workshop
from actbench.bench.peers.process import Measured, Side, SideFailed, alternate
from actbench.bench.peers.results import Outcome, Results
from actbench.bench.peers.run import environment, run, steps_in_a_turn
from actbench.config import load_recipe
from actbench.config.corpus import FilesCorpus
from actbench.config.finetuning import FinetuneSettings
from actbench.errors import BadInput
from actbench.nn.build import build
from actbench.training.hardware import Hardware

STEPS = 5


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides that only write down what they do."""
    monkeypatch.setattr(process, "MODULE", "fake_sides")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.fixture
def order(tmp_path: Path) -> Callable[[str, int], PackOrder]:
    """An order with a folder of its own."""

    def make(name: str, times: int) -> PackOrder:
        (tmp_path / name).mkdir()
        return PackOrder(folder=tmp_path / name, text=tmp_path, tokenizer=tmp_path, length=8, times=times)

    return make


@pytest.fixture
def gate() -> Iterator[Callable[[], Gate]]:
    """A gate that lets a side of this process do a step at a time; `done` counts them."""
    hooks = optimizer._global_optimizer_post_hooks

    def make() -> Gate:
        hooks.clear()
        return Gate(io.StringIO("1\n" * 1000), io.StringIO())

    yield make
    hooks.clear()


def done(gate: Gate) -> int:
    """How many steps the gate has seen."""
    answers = gate._answers
    assert isinstance(answers, io.StringIO)
    return len(answers.getvalue().splitlines())


def tiny(corpus_file: Path, **changes: Any) -> Sizes:
    sizes: dict[str, Any] = {
        "n_layers": 1, "d_model": 16, "n_heads": 2, "d_ff": 32, "vocabulary": 400, "length": 16, "sequences": 4,
        "examples": 4, "text_bytes": 20_000, "corpus": FilesCorpus(source="files", files=[str(corpus_file)]),
    }  # fmt: skip
    return Sizes(**{**sizes, **changes})


# Taking turns.


@pytest.mark.parametrize(("name", "steps"), [("glue-rte", 5), ("gpt-loop", 1), ("tokenising", 1)])
def test_a_turn_of_fine_tuning_has_batches_of_several_lengths(name: str, steps: int) -> None:
    assert steps_in_a_turn(chosen([name])[0]) == steps


def test_both_sides_take_turns_of_so_many_steps(fakes: None, order: Callable[..., PackOrder], tmp_path: Path) -> None:
    total = process.WARM_UP + 2 * 3
    starts = (
        partial(Side, name, order(name, total), {**os.environ, "OMP_NUM_THREADS": "7"})
        for name in ("actbench-pack", "slow")
    )
    mine, other = alternate(*starts, rounds=3, steps=2)
    expected = [f"{name} {step}" for step in (0, 1) for name in ("actbench-pack", "slow")]
    for first in (2, 4, 6):
        expected += [f"{name} {step}" for name in ("actbench-pack", "slow") for step in (first, first + 1)]
    lines = (tmp_path / "steps").read_text().splitlines()
    assert [line.rpartition(" ")[0] for line in lines] == expected
    assert {line.rpartition(" ")[2] for line in lines} == {"7"}
    assert len(mine.seconds) == len(other.seconds) == 3
    assert median(mine.seconds) < 0.04 <= min(other.seconds), "a side's time is its own"
    assert mine.report == other.report == Report(tokens=total)
    assert 10**7 < mine.peak_bytes < 10**9 and 0 < mine.first_step < 60


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("crash", "crash: ArithmeticError: no third step"),
        ("killed", "killed was ended by SIGKILL"),
        ("unfollowed", "unfollowed finished without doing the steps that it was told to do"),
    ],
)
def test_a_side_that_ends_early_says_why(
    fakes: None, order: Callable[..., PackOrder], program: str, reason: str
) -> None:
    starts = (partial(Side, name, order(name, 9), dict(os.environ)) for name in ("actbench-pack", program))
    with pytest.raises(SideFailed, match=f"^{reason}$"):
        alternate(*starts, rounds=3, steps=2)


def test_a_failure_is_told_and_the_others_go_on(fakes: None, corpus_file: Path) -> None:
    pairs = tuple(Pair(name, "it", 1.0, "MB", "pack", "text", name, ()) for name in ("crash", "datasets-pack"))
    said: list[str] = []
    found = run(pairs, rounds=2, glue=None, command="it", say=said.append, sizes=tiny(corpus_file))
    assert found.failed == ("crash, it: crash: ArithmeticError: no third step",)
    assert [outcome.pair.name for outcome in found.outcomes] == ["datasets-pack"]
    assert any("[1/2] crash, it: failed: crash: ArithmeticError" in line for line in said)
    assert "no third step" in found.to_text(200) and "no third step" in found.to_markdown()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_behind(
    fakes: None, tmp_path: Path, corpus_file: Path, number: signal.Signals, code: int
) -> None:
    script = (
        "import sys\n"
        "from functools import partial\n"
        "from actbench.bench.peers import prepare, process, run\n"
        "from actbench.cli.main import main\n"
        "from actbench.config.corpus import FilesCorpus\n"
        f"corpus = FilesCorpus(source='files', files=[{str(corpus_file)!r}])\n"
        "process.MODULE, run.OURS['pack'] = 'fake_sides', 'hang'\n"
        "run.Sizes = partial(prepare.Sizes, corpus=corpus, vocabulary=400)\n"
        "sys.argv = ['actbench', 'bench', 'peers', 'tokenising']\n"
        "main()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
    pids = _eventually(lambda: [p.read_text() for p in tmp_path.glob("*/hang")])[0].split()
    assert all(map(_alive, pids))
    command.send_signal(number)
    assert command.wait(30) == code
    assert command.stderr is not None and "Traceback" not in command.stderr.read()
    _eventually(lambda: not any(map(_alive, pids)))
    assert list(tmp_path.iterdir()) == []


def _alive(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _eventually(found: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


# The same work.


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_hugging_faces_model_starts_as_ours(tiny_recipe: Callable[..., Path], family: str) -> None:
    recipe = load_recipe(tiny_recipe(family))
    section = bert_section() if family == "bert" else gpt_section(layout="gpt2")
    recipe = recipe.model_copy(update={"model": section})
    model = randomized(build(section, 101, 32, seed=0))
    reference = hugging_face.language_model(model, recipe).eval()
    with torch.no_grad():
        torch.testing.assert_close(reference(ids()).logits, model.logits(ids()), rtol=0, atol=1e-4)


def test_hugging_faces_classifier_starts_as_ours(tiny_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(tiny_recipe("bert")).model_copy(update={"model": bert_section()})
    model = randomized(build(recipe.model, 101, 32, seed=0))
    reference = hugging_face.classifier(model, recipe, 2).eval()
    with torch.no_grad():
        pooled = reference.bert(ids()).pooler_output
        torch.testing.assert_close(pooled, model.pooler(model.encode(ids())), rtol=0, atol=1e-4)


def test_the_plain_loops_model_starts_as_ours() -> None:
    section = gpt_section(layout="gpt2")
    model = randomized(build(section, 101, 32, seed=0))
    plain = plain_loop.PlainGpt(section, 101, 32).eval()
    plain.load_state_dict(model.state_dict())
    targets = ids(seed=2)
    with torch.no_grad():
        expected = F.cross_entropy(model.logits(ids()).flatten(0, 1), targets.flatten())
        torch.testing.assert_close(plain(ids(), targets), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "peer"), [("bert", hugging_face.pretrain), ("gpt", hugging_face.pretrain), ("gpt", plain_loop.pretrain)]
)
def test_both_sides_of_pretraining_have_the_same_losses(
    tiny_recipe: Callable[..., Path], gate: Callable[[], Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    family: str, peer: Callable[..., Report],
) -> None:  # fmt: skip
    monkeypatch.setattr(torch, "compile", lambda model: model)
    layout = {} if family == "bert" else {"layout": "gpt2"}
    recipe = load_recipe(
        tiny_recipe(
            family,
            model={"dropout": 0.0, **layout},
            budget={"steps": STEPS},
            hardware={"precision": "fp32"},
            schedule={"kind": "constant", "warmup_fraction": 0.0},
        )
    )
    reports = []
    for name, side in (("ours", ours.pretrain), ("theirs", peer)):
        this = gate()
        reports.append(side(PretrainOrder(folder=tmp_path / name, recipe=recipe), this))
        assert done(this) == STEPS
    assert reports[0].loss is not None and reports[1].loss is not None
    assert reports[0].loss == pytest.approx(reports[1].loss, abs=0.01)  # GPT-2 scores a token less
    assert abs(reports[0].loss - 6.0) > 0.01, "they learned"


@pytest.mark.parametrize("padding", ["max_length", "longest"])
def test_both_sides_of_fine_tuning_take_the_same_steps(
    tiny_recipe: Callable[..., Path], gate: Callable[[], Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    padding: str,
) -> None:  # fmt: skip
    recipe = load_recipe(tiny_recipe("bert", model={"dropout": 0.0}, budget={"steps": 1}))
    parent = ours.pretrain(PretrainOrder(folder=tmp_path, recipe=recipe), gate()).run
    assert parent is not None
    rows = [f"x\t{i % 2}\t\t{'river stone house ' * (1 + i % 3)}" for i in range(40)]
    (tmp_path / "CoLA").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "CoLA" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    widths: list[int] = []
    tell = hugging_face.InOrder.training_step

    def watched(self: Any, model: Any, inputs: Any, *more: Any) -> Any:
        widths.append(inputs["input_ids"].shape[1])
        return tell(self, model, inputs, *more)

    monkeypatch.setattr(hugging_face.InOrder, "training_step", watched)
    settings = FinetuneSettings(train_size=12, epochs=2, batch_size=4, length=32, patience=None, precision="fp32")
    for name, side in (("ours", ours.finetune), ("theirs", hugging_face.finetune)):
        this = gate()
        order = FinetuneOrder(
            folder=tmp_path / name, parent=parent, glue=tmp_path, task="cola", settings=settings, padding=padding
        )
        report = side(order, this)
        assert done(this) == 6
        assert report.score == 0 and report.loss is not None and 0.5 < report.loss < 0.9
    assert (set(widths) == {32}) is (padding == "max_length") and len(widths) == 6


def test_both_sides_of_packing_find_the_same_tokens(
    corpus_file: Path, gate: Callable[[], Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop(tmp_path, tiny(corpus_file, text_bytes=60_000), None, {}, print)
    (pair,) = chosen(["tokenising"])
    job = workshop.job(pair, 3)
    assert isinstance(job.ours, PackOrder) and isinstance(job.theirs, PackOrder)
    assert job.ours.folder != job.theirs.folder and 0.06 <= job.amount < 0.07
    documents = len(job.ours.text.read_text().splitlines())
    monkeypatch.setenv("ACTBENCH_CACHE", "replaced by the side")
    found = []
    for side, order in ((ours.pack, job.ours), (datasets_map.pack, job.theirs)):
        this = gate()
        found.append(side(order, this).tokens)
        assert done(this) == 3
    # Ours ends each document with a token; theirs drops what does not fill a sequence.
    assert found[0] is not None and found[1] is not None
    assert 0 <= found[0] - documents - found[1] < job.ours.length


def test_both_sides_have_as_many_threads() -> None:
    assert environment()["PATH"] == os.environ["PATH"]
    assert environment()["OMP_NUM_THREADS"] == environment()["RAYON_NUM_THREADS"] == str(torch.get_num_threads())


def test_actbench_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(ours, "keep_freed_memory", lambda: kept.append("kept"))
    for number, side in enumerate((ours.pretrain, ours.finetune, ours.pack), start=1):
        with pytest.raises(AttributeError):
            side(None, None)  # type: ignore[arg-type]
        assert len(kept) == number


# What is asked for, left out, and told.


def skipped(*names: str, glue: Path | None = None) -> Results:
    return run(chosen(names), rounds=2, glue=glue, command="it", say=lambda _: None)


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None if name in ("accelerate", "datasets") else object())
    found = skipped("bert-hf-fp32", "tokenising", "glue-cola")
    assert found.outcomes == () and found.failed == ()
    assert found.skipped == (
        "bert-hf-fp32, Hugging Face Trainer, fp32: accelerate is not installed: pip install accelerate",
        "glue-cola, Hugging Face Trainer, padded to 128: accelerate is not installed: pip install accelerate",
        "glue-cola, Hugging Face Trainer, padded per batch: accelerate is not installed: pip install accelerate",
        "tokenising, datasets.map: datasets is not installed: pip install datasets",
    )
    assert "pip install accelerate" in found.to_text(300) and "pip install accelerate" in found.to_markdown()


def test_without_a_compiler_its_rows_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: Hardware("cpu", "fp32", compiled=False, threads=1))
    found = skipped("gpt-loop", "gpt-hf-bf16")
    assert [reason.rpartition(": ")[2] for reason in found.skipped] == 2 * ["no compiler found"]


def test_the_command_leaves_out_glue_without_its_data(actbench: Callable[..., Any], tmp_path: Path) -> None:
    done = actbench("bench", "peers", "glue-rte", "--json", "-o", tmp_path / "page.md", check=0)
    found = json.loads(done.stdout)
    assert found["comparisons"] == [] and len(found["skipped"]) == 2
    assert all("give --glue DIR" in reason for reason in found["skipped"])
    assert "left out: glue-rte" in done.stderr
    assert "<!-- actbench bench peers -->" in (tmp_path / "page.md").read_text()


def test_unknown_names_are_told_by_the_command(actbench: Callable[..., Any]) -> None:
    done = actbench("bench", "peers", "bert-hf-fp23", "glue-colla", check=2)
    assert "unknown comparison 'bert-hf-fp23' (did you mean 'bert-hf-fp32'?)" in done.stderr
    assert "unknown comparison 'glue-colla' (did you mean 'glue-cola'?)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_the_data_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder CoLA here"):
        skipped("gpt-loop", "glue-cola", glue=tmp_path)


def measured(*seconds: float, **report: Any) -> Measured:
    return Measured(seconds, 12.0, 3 * 10**9, Report(**report))


def results(*outcomes: Outcome, **changes: Any) -> Results:
    facts = {**machine.facts("it"), "peers": {"transformers": "5"}}
    parts: dict[str, Any] = {"skipped": (), "failed": (), "warnings": (), "settings": {"rounds": 4}}
    return Results(facts, outcomes=outcomes, **{**parts, **changes})


def outcome(pair: Pair, **report: Any) -> Outcome:
    theirs = measured(4.0, 6.0, 4.0, 8.0, **report)
    return Outcome(pair, 4, 2, 8192, measured(1.0, 1.0, 2.0, 2.0, **report), theirs)


def test_the_table_tells_how_many_times_faster_and_whether_that_is_enough(tmp_path: Path) -> None:
    (loop,) = chosen(["gpt-loop"])
    (fp32,) = chosen(["bert-hf-fp32"])
    found = results(outcome(loop, loss=6.25), outcome(fp32, loss=6.25))
    first, second = (row.cells for row in found.table().rows)
    # Rounds: 4/1, 6/1, 4/2, 8/2, so 4 [3.5, 4.5]; 2 steps of 8192 tokens in 1.5 s.
    assert first == (
        "gpt-loop", "plain loop, bf16 and torch.compile", "4.00 [3.50, 4.50]", "1.5", "10,923 / 3,277 tokens/s",
        "6.250 / 6.250", "–", "3.00 / 3.00 GB", "12 / 12 s",
    )  # fmt: skip
    assert second[2] == "4.00 [3.50, 4.50] ✗"
    assert [(o["met"], o["steps"]) for o in found.to_json()["comparisons"]] == [(True, 10), (False, 10)]
    output.write(found, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| gpt-loop |" in page and "transformers 5" in page and "4 rounds" in page


def test_every_key_and_comparison_is_documented() -> None:
    documented = (ROOT / "benchmarks" / "README.md").read_text()
    data = results(outcome(PAIRS[0])).to_json()
    (one,) = data["comparisons"]
    keys = {*data, *one, *one["actbench"]} - {"benchmark"}
    assert [key for key in sorted({*keys, *NAMES}) if f"`{key}`" not in documented] == []
