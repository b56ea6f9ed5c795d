"""`runs list`: chosen, ordered, fast with ten thousand runs, and true whatever became of its index."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COMMAND
from fake_runs import finetune, pretrain
from many_runs import many_runs

from actbench.errors import BadInput
from actbench.store import Run, claim, list_runs
from actbench.store import index as index_module
from actbench.store.index import INDEX, Record, records
from actbench.store.select import matching, ordered

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pre-trained BERTs, one fine-tuned twice, and one that was interrupted."""
    root = tmp_path_factory.mktemp("runs")
    gelu = pretrain(root, "gelu", loss=4.5)
    pretrain(root, "raf", loss=3.5, options={"degrees": [5, 4]})
    pretrain(root, "relu", finished=False)
    finetune(root, gelu, score=0.7)
    finetune(root, gelu, "cola", 1, score=0.6, settings={"lr": 1e-4})
    return root


def found(root: Path) -> list[Record]:
    return records(root)[0]


def names(chosen: list[Record]) -> list[tuple[str, str | None]]:
    return [(record.facts["activation"], record.facts["task"]) for record in chosen]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("activation=raf and val_loss<4", {("raf", None)}),
        ("loss<4.5 or score>0.65", {("raf", None), ("gelu", "sst2")}),
        ("validation_loss>=4.5", {("gelu", None)}),
        ("status=interrupted", {("relu", None)}),
        ("kind=finetune and not task=cola", {("gelu", "sst2")}),
        ("finetune.lr>5e-5", {("gelu", "cola")}),
        ("finetune_seed=1", {("gelu", "cola")}),
        ("scores.validation.accuracy<=0.6", {("gelu", "cola")}),
        ("name=bert-nano and model.d_model=64 and optimizer.lr=1e-3 and steps=200", {("gelu", None), ("raf", None)}),
        ("model.activation.degrees~'[5, 4]'", {("raf", None)}),
        ("loss=null and kind=pretrain", {("relu", None)}),
        ("parent~bert-nano and seed=0", {("gelu", "sst2"), ("gelu", "cola")}),
    ],
)
def test_runs_are_chosen_by_columns_recipe_and_results(
    runs: Path, expression: str, expected: set[tuple[str, str | None]]
) -> None:
    assert set(names(matching(found(runs), expression))) == expected


def test_a_key_that_no_run_has_is_told_with_the_nearest(runs: Path) -> None:
    with pytest.raises(BadInput, match=r"--where, column 13: no run has a key 'optimizer.lrr' .*'optimizer.lr'\?"):
        matching(found(runs), "seed=0 and (optimizer.lrr>1)")
    with pytest.raises(BadInput, match=r"--sort: no run has a key 'los' \(did you mean 'loss'\?\)"):
        ordered(found(runs), "los")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("val_loss<abc", "--where, column 1: 'val_loss' holds numbers, and 'abc' is none (as in val_loss<4, without"),
        ("kind=pretrain and (seed=one)", "--where, column 20: 'seed' holds numbers, and 'one' is none"),
        (
            "not optimizer.lr!='1e-3'",
            "--where, column 5: 'optimizer.lr' holds numbers, and '1e-3' is none (as in optim",
        ),
    ],
)
def test_a_word_where_all_have_numbers_is_told(runs: Path, expression: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        matching(found(runs), expression)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "expression", ["loss~abc", "loss=null", "kind<pretrain", "kind=1", "created>2026 and kind=abc"]
)
def test_a_word_where_some_have_words_is_no_mistake(runs: Path, expression: str) -> None:
    matching(found(runs), expression)


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("kind=pretrian", " (did you mean 'pretrain'?)"),
        ("seed=0 and activation=RAF", " (did you mean 'raf'?)"),
        ("kind=pretrain and task=cloa", " (did you mean 'cola'?)"),
        ("status=finished and kind=zebra", ""),
        ("kind!=pretrain and task=null", ""),
        ("activation=raf and kind=finetune", ""),
    ],
)
def test_a_word_that_no_run_has_is_told_with_the_nearest(
    actbench: Command, runs: Path, expression: str, hint: str
) -> None:
    done = actbench("runs", "list", "--runs", runs, "--where", expression, check=0)
    assert done.stdout == f"none of 5 runs matches{hint}\n"


@pytest.mark.parametrize("command", [["list"], ["rm", "--where", "kind=pretrain"], ["show", "x"]])
def test_a_folder_that_was_named_must_be_there(actbench: Command, command: list[str]) -> None:
    done = actbench("runs", *command, "--runs", "nowhere", check=2)
    assert done.stderr == "error: --runs nowhere: no such folder (give the folder that holds the runs)\n"
    assert not done.stdout


def test_runs_without_a_value_come_last_in_either_direction(runs: Path) -> None:
    up, down = (names(ordered(found(runs), "val_loss", descending=d))[:2] for d in (False, True))
    assert up == [("raf", None), ("gelu", None)] and down == up[::-1]


def test_the_table_and_its_json(actbench: Command, runs: Path) -> None:
    flags = ["--runs", runs, "--sort", "optimizer.lr", "--where", "score!=null", "--descending", "--limit", "1"]
    text = actbench("runs", "list", *flags, "--columns", "task,finetune.lr,score", check=0).stdout
    assert [line.split() for line in text.splitlines()[::2]] == [
        ["task", "finetune.lr", "score"],
        ["cola", "0.0001", "0.6000"],
    ]
    rows = json.loads(actbench("runs", "list", "--json", "--runs", runs, "--sort", "score", check=0).stdout)["runs"]
    assert [row["score"] for row in rows] == [0.6, 0.7, None, None, None]
    assert {"task": "cola", "metric": "accuracy", "status": "finished", "loss": None}.items() <= rows[0].items()
    assert actbench("runs", "list", "--runs", runs, "--where", "seed=9", check=0).stdout == "none of 5 runs matches\n"
    assert (
        "--columns: no run has a key 'tusk'"
        in actbench("runs", "list", "--runs", runs, "--columns", "tusk", check=2).stderr
    )


# The index.


def copied(runs: Path, to: Path) -> Path:
    shutil.copytree(runs, to)
    (to / INDEX).unlink(missing_ok=True)
    return to


def never_read(run: Run) -> tuple[dict[str, object], str, str]:
    raise AssertionError(f"{run.id} was read again")


def test_what_the_index_holds_is_not_read_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copied(runs, tmp_path / "runs")
    first = found(root)
    monkeypatch.setattr(index_module, "record", never_read)
    assert found(root) == first and len(first) == 5


def test_a_changed_a_new_and_a_removed_run_are_noticed(runs: Path, tmp_path: Path) -> None:
    root = copied(runs, tmp_path / "runs")
    before = {record.id: record.value("loss") for record in found(root)}
    changed, removed = [record.id for record in found(root) if record.value("loss")]
    path = root / changed / "manifest.json"
    old = path.stat()
    path.write_text(path.read_text().replace('"validation_loss": ', '"validation_loss": 1', 1))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))  # its size tells
    shutil.rmtree(root / removed)
    new = pretrain(root, "poly_norm", loss=2.0).id
    after = {record.id: record.value("loss") for record in found(root)}
    assert after.keys() == before.keys() - {removed} | {new}
    assert after[new] == 2.0 and after[changed] == float(f"1{before[changed]}")
    shutil.rmtree(root / new)
    found(root)
    assert new not in (root / INDEX).read_text()


def test_the_status_of_an_unfinished_run_is_that_of_this_moment(runs: Path, tmp_path: Path) -> None:
    root = copied(runs, tmp_path / "runs")
    (unfinished,) = matching(found(root), "status=interrupted")
    with claim(unfinished.folder) as writer:
        assert names(matching(found(root), "status=running")) == [("relu", None)]
        writer.fail("no more")
    assert names(matching(found(root), "status=failed")) == [("relu", None)]
    with claim(unfinished.folder) as writer:
        writer.commit({"validation_loss": 1.0})
    assert names(matching(found(root), "status=finished and loss=1")) == [("relu", None)]


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "version", "folder"])
def test_a_damaged_index_is_made_anew_without_a_word(runs: Path, tmp_path: Path, damage: str) -> None:
    root = copied(runs, tmp_path / "runs")
    first, path = found(root), root / INDEX
    content = bytearray(path.read_bytes())
    flipped = content.index(b'"loss":4.5') + 7
    content[flipped] ^= 1  # 5.5: still a number
    broken = {"cut": content[:-100], "empty": b"", "bit": content, "version": content.replace(b"index 1", b"index 0")}
    path.unlink()
    path.mkdir() if damage == "folder" else path.write_bytes(broken[damage])
    assert found(root) == first == found(root)
    assert path.is_dir() == (damage == "folder")


def test_a_folder_that_cannot_be_written_is_listed_too(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(runs, tmp_path / "runs")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(index_module, "replacing", refuse)
    assert len(found(root)) == 5 and not (root / INDEX).exists()


def test_two_that_write_the_index_at_once_leave_a_whole_one(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(runs, tmp_path / "runs")
    results: list[int] = []

    def work() -> None:
        for _ in range(10):
            (root / INDEX).unlink(missing_ok=True)
            results.append(len(found(root)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5] * 40
    assert len(found(root)) == 5
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [INDEX]
    monkeypatch.setattr(index_module, "record", never_read)
    assert len(found(root)) == 5


def test_a_damaged_run_is_named_and_hides_no_other(actbench: Command, runs: Path, tmp_path: Path) -> None:
    root = copied(runs, tmp_path / "runs")
    (root / "torn").mkdir()
    (root / "torn" / "run.json").write_text('{"kind": ')
    (root / "strange").mkdir()
    (root / "strange" / "run.json").write_text("{}")
    done = actbench("runs", "list", "--json", check=0)
    assert len(json.loads(done.stdout)["runs"]) == 5
    assert "left out: torn: " in done.stderr and "left out: strange: runs/strange/run.json: kind: " in done.stderr
    assert "left out: torn: " in actbench("runs", "test", check=0).stderr
    assert "run.json: kind: damaged: missing" in actbench("runs", "show", "strange", check=2).stderr


def test_a_hidden_folder_is_no_run(runs: Path, tmp_path: Path) -> None:
    root = copied(runs, tmp_path / "runs")
    (root / found(root)[0].id).rename(root / ".removed-x")
    assert len(found(root)) == 4 == len(list_runs(root))


def test_ten_thousand_runs_are_listed_within_a_second(tmp_path: Path) -> None:
    """Of the processor, the best of a few, with the interpreter's start; or 2.5 empty lists where those take long."""
    many_runs(tmp_path / "runs", 10_000)
    (tmp_path / "empty").mkdir()
    where = ["--where", "activation=raf and val_loss<4.5 and optimizer.lr<0.0015", "--sort", "val_loss"]
    assert len(listed(tmp_path)[1]) == 10_002
    for arguments, lines in (([], 10_002), (where, 418)):
        seconds, empty = [], []
        for _ in range(4):
            empty.append(listed(tmp_path, "--runs", "empty")[0])
            took, printed = listed(tmp_path, *arguments)
            assert len(printed) == lines
            seconds.append(took)
            if took < 1:
                break
        assert min(seconds) < max(1, 2.5 * min(empty)), (arguments, seconds, empty)


def listed(folder: Path, *arguments: str) -> tuple[float, list[str]]:
    """Processor seconds that a `runs list` took, and the lines it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([COMMAND, "runs", "list", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout.splitlines()


def test_a_list_imports_nothing_heavy(runs: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['actbench', 'runs', 'list', '--where', 'optimizer.lr<1', '--runs', {str(runs)!r}]\n"
        "from actbench.cli.main import main\n"
        "main()\n"
        "heavy = {'torch', 'lightning', 'numpy', 'yaml', 'matplotlib', 'scipy', 'rich', 'actbench.config'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
