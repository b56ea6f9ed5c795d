"""`runs export` and `import`: all that a reader needs travels, and nothing false or foreign arrives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import finetune, pretrain, transfer

from actbench.errors import BadInput, RunFailed
from actbench.store import Run
from actbench.store.archive import SUMS, export
from actbench.store.arrival import import_archive

Command = Callable[..., subprocess.CompletedProcess[str]]
Members = list[tuple[tarfile.TarInfo, bytes]]


def make(root: Path, activation: str = "gelu", **options: object) -> Run:
    """A finished run with weights, a checkpoint, a figure drawn into its folder, and what must not travel."""
    run = pretrain(root, activation, finished=False, **options)  # type: ignore[arg-type]
    from actbench.store import claim

    with claim(run.folder) as writer:
        (run.folder / "model.safetensors").write_bytes(random.Random(activation).randbytes(20_000))
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints" / "last.ckpt").write_bytes(b"state")
        run = writer.commit({"validation_loss": 3.0})
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "curves.svg").write_text("<svg/>")
    (run.folder / ".hidden").write_text("x")
    (run.folder / "outside.txt").symlink_to("/etc/hostname")
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def members_of(archive: Path) -> Members:
    with tarfile.open(archive) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def written(path: Path, members: Members, sums: bool = True) -> Path:
    """An archive of these members; with `sums`, SHA256SUMS is brought in line with them."""
    if sums:
        lines = [f"{hashlib.sha256(content).hexdigest()}  {member.name}\n" for member, content in members[1:]]
        members = [(members[0][0], "".join(dict.fromkeys(lines)).encode()), *members[1:]]
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_travels_whole_and_verifies(actbench: Command, run: Run, tmp_path: Path) -> None:
    assert "runs: 1, files: 5" in actbench("runs", "export", run.id, "-o", "a.tar", check=0).stderr
    done = actbench("runs", "import", "a.tar", "--runs", "elsewhere", check=0)
    assert done.stdout == f"{run.id}\n"
    arrived = tree(tmp_path / "elsewhere" / run.id)
    kept = {name: content for name, content in tree(run.folder).items() if name in arrived}
    assert arrived == kept
    recorded = {*run.manifest["files"], "manifest.json"}  # type: ignore[index]
    assert set(arrived) == recorded | {"figures/curves.svg"}
    actbench("runs", "show", run.id, "--verify", "--runs", "elsewhere", check=0)
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == [run.id]


def test_the_same_runs_make_the_same_bytes(run: Run, tmp_path: Path) -> None:
    other = make(tmp_path / "runs", "raf")
    export([run, other], tmp_path / "a.tar")
    for path in run.folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
            path.chmod(0o700)
    export([other, run, other], tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_archive_is_checked_without_actbench(run: Run, tmp_path: Path) -> None:
    export([run], tmp_path / "a.tar")
    subprocess.run(["tar", "xf", "a.tar"], cwd=tmp_path, check=True)
    shutil.rmtree(run.folder.parent)
    subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=tmp_path, check=True)


def test_what_is_left_out_by_choice_is_told_from_what_is_lost(actbench: Command, run: Run, tmp_path: Path) -> None:
    actbench("runs", "export", run.id, "--no-weights", "-o", "a.tar", check=0)
    told = actbench("runs", "import", "a.tar", "--runs", "elsewhere", check=0).stderr
    assert f"{run.id} came without model.safetensors" in told
    shown = actbench("runs", "show", run.id, "--verify", "--json", "--runs", "elsewhere", check=0)
    assert "not here and not checked, as its archive came without: model.safetensors" in shown.stderr
    facts = json.loads(shown.stdout)
    assert (facts["damaged"], facts["left_out"]) == ([], ["model.safetensors"])
    assert facts["manifest"]["files"]["model.safetensors"] == run.manifest["files"]["model.safetensors"]  # type: ignore[index]
    (tmp_path / "elsewhere" / run.id / "metrics.jsonl").unlink()
    assert (
        "damaged: metrics.jsonl" in actbench("runs", "show", run.id, "--verify", "--runs", "elsewhere", check=1).stderr
    )
    weights = tmp_path / "elsewhere" / run.id / "model.safetensors"
    weights.write_bytes(b"others")
    assert Run(weights.parent).damaged_files() == ["metrics.jsonl", "model.safetensors"]


def test_what_came_without_weights_goes_on_without_them(run: Run, tmp_path: Path) -> None:
    export([run], tmp_path / "a.tar", weights=False)
    import_archive(tmp_path / "a.tar", tmp_path / "b")
    export([Run(tmp_path / "b" / run.id)], tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_checkpoints_travel_where_asked_for(run: Run, tmp_path: Path) -> None:
    export([run], tmp_path / "a.tar", checkpoints=True)
    import_archive(tmp_path / "a.tar", tmp_path / "b")
    assert (tmp_path / "b" / run.id / "checkpoints" / "last.ckpt").read_bytes() == b"state"


def test_a_fine_tuned_runs_absent_parent_is_told(actbench: Command, run: Run) -> None:
    child = finetune(run.folder.parent, run)
    told = actbench("runs", "export", child.id, "-o", "a.tar", check=0).stderr
    assert f"note: {child.id} was made from a run that is not in the archive (--with-parents takes it too)" in told
    assert "note" not in actbench("runs", "export", child.folder, run.folder, "-o", "a.tar", check=0).stderr


def exported(actbench: Command, *options: object) -> list[str]:
    """The runs in the archive that the options make, by `--json`."""
    return list(json.loads(actbench("runs", "export", *options, "-o", "a.tar", "--json", check=0).stdout)["runs"])


def test_runs_are_taken_by_name_by_what_matches_or_both(actbench: Command, run: Run) -> None:
    raf, relu = make(run.folder.parent, "raf"), make(run.folder.parent, "relu")
    assert exported(actbench, "--where", "activation=raf or activation=relu") == sorted([raf.id, relu.id])
    assert exported(actbench, run.id, "--where", "activation=raf") == sorted([raf.id, run.id])
    assert exported(actbench, raf.id, "--where", "activation=raf") == [raf.id]


def test_parents_come_along_where_asked_for(actbench: Command, run: Run, tmp_path: Path) -> None:
    """Of an evaluation, the fine-tuned model and the pre-trained one; beside a run elsewhere, what lies there."""
    make(run.folder.parent, "raf")
    child = finetune(run.folder.parent, run)
    grandchild = transfer(run.folder.parent, child, 0.5)
    family = sorted([run.id, child.id, grandchild.id])
    assert exported(actbench, "--where", "kind=evaluate") == [grandchild.id]
    assert exported(actbench, "--where", "kind=evaluate", "--with-parents") == family
    run.folder.parent.rename(tmp_path / "elsewhere")
    assert exported(actbench, f"elsewhere/{grandchild.id}", "--with-parents") == family
    shutil.rmtree(tmp_path / "elsewhere" / run.id)
    done = actbench("runs", "export", f"elsewhere/{child.id}", "--with-parents", "-o", "a.tar", check=0)
    assert done.stderr.startswith(f"note: {child.id} was made from a run that is not in the archive\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "which runs? (give names, or --where with an expression)"),
        (("--where", "activation=relu"), "--where activation=relu: no run in runs/ matches"),
        (("{run}", "--where", "activation=relu"), "no run in runs/ matches"),
        (("--where", "activatoin=raf"), "did you mean 'activation'?"),
        (("--with-parents",), "which runs?"),
    ],
)
def test_an_export_of_nothing_is_refused(
    actbench: Command, run: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = actbench("runs", "export", *(word.format(run=run.id) for word in options), "-o", "a.tar", check=2)
    assert said in done.stderr and not (tmp_path / "a.tar").exists()


def test_what_cannot_be_exported_leaves_no_archive(run: Run, tmp_path: Path) -> None:
    unfinished = pretrain(tmp_path / "runs", "relu", finished=False)
    with pytest.raises(BadInput, match=r"not finished \(interrupted\)"):
        export([run, unfinished], tmp_path / "a.tar")
    with pytest.raises(BadInput, match=r"called \.tar"):
        export([run], tmp_path / "a.zip")
    with pytest.raises(BadInput, match="no such folder"):
        export([run], tmp_path / "no" / "a.tar")
    (run.folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(RunFailed, match=r"damaged, not exported: model\.safetensors"):
        export([run], tmp_path / "a.tar")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


# Import.


def test_the_same_run_is_skipped_and_another_of_its_name_refused(actbench: Command, run: Run, tmp_path: Path) -> None:
    new = make(tmp_path / "runs", "raf")
    export([run, new], tmp_path / "a.tar")
    (tmp_path / "b").mkdir()
    shutil.copytree(run.folder, tmp_path / "b" / run.id)
    (tmp_path / "b" / run.id / "model.safetensors").unlink()
    done = actbench("runs", "import", "a.tar", "--runs", "b", check=0)
    assert f"{run.id} is here already, without model.safetensors" in done.stderr and done.stdout == f"{new.id}\n"
    assert not (tmp_path / "b" / run.id / "model.safetensors").exists()
    shutil.rmtree(tmp_path / "b" / new.id)
    manifest = tmp_path / "b" / run.id / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    done = actbench("runs", "import", "a.tar", "--runs", "b", check=2)
    assert "exists and is not the same run" in done.stderr
    assert [path.name for path in (tmp_path / "b").iterdir()] == [run.id]


def test_a_run_that_brings_code_is_told(actbench: Command, tmp_path: Path) -> None:
    text = "import torch\nfrom actbench.activations import Activation, register\n\n\n@register('own')\n"
    text += "class Own(Activation):\n    def compute(self, x):\n        return x\n"
    run = pretrain(tmp_path / "runs", "activation-1f2e3d4c.py:Own", copy_of_own=text)
    export([run], tmp_path / "a.tar")
    assert "brings code of its own" in actbench("runs", "import", "a.tar", "--runs", "b", check=0).stderr


def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        member = tarfile.TarInfo(name.format(run=members[1][0].name.partition("/")[0]))
        member.type, member.linkname = kind, link
        return [*members, (member, b"x" if kind == tarfile.REGTYPE else b"")]

    return change


def sparse(members: Members) -> Members:
    """A file of which the archive holds one byte of a million."""
    member = tarfile.TarInfo(f"{members[1][0].name.partition('/')[0]}/sparse")
    member.pax_headers = {"GNU.sparse.map": "1000000,1", "GNU.sparse.size": "1000001"}
    return [*members, (member, b"x")]


def rename_run(members: Members) -> Members:
    for member, _ in members[1:]:
        member.name = "../" + member.name
    return members


def swap_manifest(members: Members) -> Members:
    return [(m, c.replace(b'"summary"', b'"sumary"') if m.name.endswith("manifest.json") else c) for m, c in members]


def other_weights(members: Members) -> Members:
    return [(m, c + b"x" if m.name.endswith(".safetensors") else c) for m, c in members]


def without(name: str) -> Callable[[Members], Members]:
    return lambda members: [pair for pair in members if not pair[0].name.endswith(name)]


ATTACKS = {
    "leads out": (add("{run}/../../out"), "does not give a run's file its hash"),
    "absolute": (add("/tmp/out"), "does not give a run's file its hash"),
    "run leads out": (rename_run, "does not give a run's file its hash"),
    "hidden run": (add(".arriving/x"), "does not give a run's file its hash"),
    "no folder": (add("out"), "does not give a run's file its hash"),
    "link": (add("{run}/weights", tarfile.SYMTYPE, "/etc/passwd"), "is no plain file"),
    "hard link": (add("{run}/weights", tarfile.LNKTYPE, "/etc/passwd"), "is no plain file"),
    "device": (add("{run}/null", tarfile.CHRTYPE), "is no plain file"),
    "pipe": (add("{run}/pipe", tarfile.FIFOTYPE), "is no plain file"),
    "folder": (add("{run}/figures/x", tarfile.DIRTYPE), "is no plain file"),
    "sparse": (sparse, "is no plain file"),
    "twice": (add("{run}/figures/curves.svg"), "line 6 of SHA256SUMS does not give"),
    "file as folder": (add("{run}/run.json/x"), "collides with another name"),
    "second run is none": (add("other/x"), "other is no finished run's folder"),
    "manifest without results": (swap_manifest, "is no finished run's folder"),
    "weights not the manifest's": (other_weights, "not what its manifest records: model.safetensors"),
    "weights lost": (without(".safetensors"), "not what its manifest records: model.safetensors"),
    "no manifest": (without("manifest.json"), "is no finished run's folder"),
    "no run": (without("run.json"), "is no finished run's folder"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_bad_archive_is_refused_and_nothing_arrives(run: Run, tmp_path: Path, attack: str) -> None:
    change, said = ATTACKS[attack]
    export([run], tmp_path / "a.tar")
    bad = written(tmp_path / "bad.tar", change(members_of(tmp_path / "a.tar")))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput) as caught:
        import_archive(bad, tmp_path / "b")
    assert said in str(caught.value) and "bad.tar" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add("{run}/more"), "is not in its SHA256SUMS"),
        (lambda members: [*members, members[-1]], "is in it twice"),
        (lambda members: members[1:], "does not begin with SHA256SUMS"),
        (lambda members: members[:1], "is missing"),
        (lambda members: [(members[0][0], b""), *members[1:]], "holds no runs"),
        (other_weights, "is damaged: its sha256 is not what SHA256SUMS tells"),
    ],
)
def test_an_archive_that_is_not_what_its_sums_say_is_refused(
    run: Run, tmp_path: Path, change: Callable[[Members], Members], said: str
) -> None:
    export([run], tmp_path / "a.tar")
    bad = written(tmp_path / "bad.tar", change(members_of(tmp_path / "a.tar")), sums=False)
    with pytest.raises(BadInput, match=said):
        import_archive(bad, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_cut_or_flipped_archive_is_refused_or_the_same(run: Run, tmp_path: Path) -> None:
    """Wherever it was cut, and whichever bit was flipped: what arrives is what was sent, or nothing."""
    export([run], tmp_path / "a.tar")
    whole, bad, b = (tmp_path / "a.tar").read_bytes(), tmp_path / "bad.tar", tmp_path / "b"
    import_archive(tmp_path / "a.tar", b)
    sent = tree(b)
    draw = random.Random(0)
    end = len(whole.rstrip(b"\0"))
    cuts = [whole[:at] for at in (0, 100, 512, 700, *(draw.randrange(end) for _ in range(10)))]
    flips = []
    for i in range(60):
        content = bytearray(whole)
        content[draw.randrange(3 * 512) if i % 2 else draw.randrange(end)] ^= 1 << draw.randrange(8)
        flips.append(bytes(content))
    refused = 0
    for content in [*cuts, *flips]:
        bad.write_bytes(content)
        shutil.rmtree(b)
        try:
            import_archive(bad, b)
        except BadInput:
            refused += 1
            assert not b.exists()
            b.mkdir()
        else:
            assert tree(b) == sent
    assert refused >= 60


def test_what_a_killed_import_left_is_cleaned_by_the_next(run: Run, tmp_path: Path) -> None:
    export([run], tmp_path / "a.tar")
    (tmp_path / "b" / ".arriving-0000" / "x").mkdir(parents=True)
    import_archive(tmp_path / "a.tar", tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == [run.id]
