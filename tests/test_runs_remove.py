"""`runs rm`: asks, spares what is needed or in use, and leaves each run whole or gone."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COMMAND
from fake_runs import finetune, pretrain, transfer

from actbench.errors import BadInput
from actbench.store import Run, claim
from actbench.store import remove as removing
from actbench.store.index import records

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def ids(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.name != ".index"}


def check(root: Path, *runs: Run) -> None:
    removing.check_removable(runs, root, *records(root))


def test_without_a_terminal_it_needs_a_yes(actbench: Command, root: Path) -> None:
    run, other = pretrain(root, "gelu"), pretrain(root, "raf")
    assert "--yes removes without asking" in actbench("runs", "rm", run.id, check=2).stderr
    assert json.loads(actbench("runs", "rm", run.id, "--dry-run", "--json", check=0).stdout)["would_remove"] == [run.id]
    assert ids(root) == {run.id, other.id}
    assert actbench("runs", "rm", run.id, "--yes", check=0).stdout == f"{run.id}\n"
    assert ids(root) == {other.id}
    assert "which runs?" in actbench("runs", "rm", "--yes", check=2).stderr
    assert "not both" in actbench("runs", "rm", other.id, "--where", "seed=9", "--yes", check=2).stderr


@pytest.mark.parametrize(("answer", "left"), [("y\n", 1), ("\n", 2)])
def test_a_terminal_is_asked(root: Path, answer: str, left: int) -> None:
    run, other = pretrain(root, "gelu"), pretrain(root, "raf")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "runs", "rm", "--where", f"run={run.id}"], cwd=root.parent, stdin=theirs, stdout=theirs, stderr=theirs
    )
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(ours, 4096)
    assert run.id.encode() in asked and other.id.encode() not in asked
    os.write(ours, answer.encode())
    assert process.wait(timeout=60) == 0
    os.close(theirs)
    os.close(ours)
    assert len(ids(root)) == left and other.id in ids(root)


def test_a_run_in_training_stays(root: Path) -> None:
    run = pretrain(root, "gelu", finished=False)
    with claim(run.folder):
        with pytest.raises(BadInput, match="is being trained"):
            check(root, run)
        with pytest.raises(BadInput, match="is being trained"):  # begun after the check
            removing.remove(run)
    assert run.folder.exists()
    check(root, run)
    removing.remove(run)
    assert ids(root) == set()


def test_a_parent_stays_without_its_children(root: Path) -> None:
    parent = pretrain(root, "gelu")
    child = finetune(root, parent)
    with pytest.raises(BadInput, match=rf"{child.id} was made from {parent.id} \(--with-children"):
        check(root, parent)
    check(root, child)
    check(root, parent, child)
    assert [run.id for run in removing.with_children([parent], root, *records(root))] == [parent.id, child.id]
    test = transfer(root, child, 0.5)
    whole = removing.with_children([parent], root, *records(root))
    assert [run.id for run in whole] == [parent.id, child.id, test.id]
    check(root, *whole)


@pytest.mark.parametrize("file", ["manifest.json", "run.json"])
def test_a_parent_stays_without_its_damaged_children(root: Path, file: str) -> None:
    parent, other = pretrain(root, "gelu"), pretrain(root, "raf")
    child = finetune(root, parent)
    (child.folder / file).write_text("{")
    with pytest.raises(BadInput, match=rf"{child.id} was made from {parent.id}"):
        check(root, parent)
    check(root, other)
    chosen = removing.with_children([parent], root, *records(root))
    assert [run.id for run in chosen] == [parent.id, child.id]
    check(root, *chosen)
    for run in chosen:
        removing.remove(run)
    assert ids(root) == {other.id}


def test_a_run_elsewhere_is_refused_and_a_link_alone_is_removed(root: Path, tmp_path: Path) -> None:
    elsewhere = pretrain(tmp_path / "elsewhere", "gelu")
    root.mkdir()
    with pytest.raises(BadInput, match=r"is not in .*runs/ \(--runs "):
        check(root, elsewhere)
    link = root / "linked"
    link.symlink_to(elsewhere.folder)
    check(root, Run(link))
    removing.remove(Run(link))
    assert ids(root) == set() and elsewhere.damaged_files() == []


def test_what_links_in_a_run_lead_to_stays(root: Path, tmp_path: Path) -> None:
    run = pretrain(root, "gelu")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kept").write_text("x" * 10_000)
    before = removing.size_bytes(run)
    (run.folder / "data").symlink_to(tmp_path / "data")
    (run.folder / "kept").symlink_to(tmp_path / "data" / "kept")
    assert removing.size_bytes(run) < before + 1000
    removing.remove(run)
    assert ids(root) == set() and (tmp_path / "data" / "kept").exists()


def test_a_kill_in_the_middle_leaves_no_half_of_a_run(
    actbench: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = pretrain(root, "gelu"), pretrain(root, "raf")

    def killed(folder: Path) -> None:
        (folder / "manifest.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(removing, "_delete", killed)
    with pytest.raises(KeyboardInterrupt):
        removing.remove(run)
    assert run.id not in ids(root) and len(ids(root)) == 2
    listed = json.loads(actbench("runs", "list", "--json", check=0).stdout)["runs"]
    assert [row["run"] for row in listed] == [other.id]
    third = pretrain(root, "relu")
    actbench("runs", "rm", third.id, "--yes", check=0)
    assert ids(root) == {other.id}


def test_only_what_is_nobodys_is_cleaned(root: Path) -> None:
    with claim(root / ".arriving-1"):
        (root / ".removed-x-1").mkdir()
        (root / ".other").mkdir()
        old, new = root / "..index.a.partial", root / "..index.b.partial"
        for path in (old, new):
            path.touch()
        os.utime(old, (time.time() - 7200,) * 2)
        removing.clean(root)
        assert ids(root) == {".arriving-1", ".other", new.name}
    removing.clean(root)
    assert ids(root) == {".other", new.name}
    shutil.rmtree(root)
    removing.clean(root)
