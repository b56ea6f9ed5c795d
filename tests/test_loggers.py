"""TensorBoard, trackio, wandb and MLflow hold what metrics.jsonl does, each step once, resumed or not.

Those that are not installed are skipped; TensorBoard alone is part of the development tools, CI installs the others.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actbench.config import load_recipe
from actbench.errors import BadInput
from actbench.store.writer import JOURNALS, RunWriter
from actbench.training import loggers
from actbench.training.loggers import NEEDED, SCALARS, check_installed, open_loggers

Command = Callable[..., subprocess.CompletedProcess[str]]
Points = list[tuple[str, int, float]]


def of_tensorboard(folder: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(tag, event.step, event.value) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]


def of_trackio(folder: Path) -> Points:
    (database,) = folder.glob("*.db")
    rows = sqlite3.connect(database).execute("SELECT step, metrics, run_name FROM metrics").fetchall()
    assert {name for _, _, name in rows} == {folder.parent.name}
    return [(key, step, value) for step, values, _ in rows for key, value in json.loads(values).items()]


def of_wandb(folder: Path) -> Points:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("offline-run-*/run-*.wandb")
    found: Points = []
    for data in leveldb_records(file.read_bytes()):
        record = Record.FromString(data)
        assert not record.run.run_id or folder.parent.name.endswith(record.run.run_id)
        values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        found += [(key, values["_step"], value) for key, value in values.items() if "/" in key]
    return found


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log (checksum, length, type, data), which wandb's file is after 7 bytes of its own."""
    block, at, record = 32768, 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def of_mlflow(folder: Path) -> Points:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.run_name == folder.parent.name and run.info.status == "FINISHED"
    assert run.data.params["model.activation.name"] == "gelu"
    return [
        (m.key, m.step, m.value) for key in run.data.metrics for m in client.get_metric_history(run.info.run_id, key)
    ]


READERS = {"tensorboard": of_tensorboard, "trackio": of_trackio, "wandb": of_wandb, "mlflow": of_mlflow}


def test_every_logger_is_read_here_and_none_is_hashed_as_part_of_a_run() -> None:
    assert set(READERS) == set(NEEDED) == set(JOURNALS)


def written(folder: Path) -> Points:
    """What metrics.jsonl holds, as the tools call it."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(f"{row['kind']}/{key}", row["step"], row[key]) for row in rows for key in SCALARS if key in row]


def assert_same(found: Points, expected: Points) -> None:
    assert [point[:2] for point in sorted(found)] == [point[:2] for point in sorted(expected)]
    values = {point[:2]: point[2] for point in expected}
    assert all(value == pytest.approx(values[key, step], rel=1e-6) for key, step, value in found)  # TensorBoard: fp32


def needs(name: str) -> None:
    for library in NEEDED[name]:
        pytest.importorskip(library, reason=f"{library} is not installed")


@pytest.mark.parametrize("name", NEEDED)
def test_a_run_is_journalled_and_goes_on_in_the_same_journal(
    actbench: Command, tiny_recipe: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """Trained by the command; then as if it had been killed before its manifest, two rows after the checkpoint."""
    needs(name)
    recipe = tiny_recipe(logging={"every_steps": 1, name: True})
    done = actbench("pretrain", "-r", recipe, "--json", check=0)
    folder = tmp_path / json.loads(done.stdout)["folder"]
    expected = written(folder)
    assert len(expected) > 12
    assert_same(READERS[name](folder / name), expected)
    assert not any(name in file for file in json.loads((folder / "manifest.json").read_text())["files"])

    rows = (folder / "metrics.jsonl").read_text().splitlines()
    torn = [{**json.loads(rows[-2]), "step": step} for step in (13, 14)]
    (folder / "metrics.jsonl").write_text("\n".join([*rows, *map(json.dumps, torn)]) + "\n")
    (folder / "manifest.json").unlink()
    actbench("pretrain", "-r", recipe, "--resume", "--json", check=0)
    assert_same(READERS[name](folder / name), expected)


def test_a_resumed_journal_has_no_step_twice(tiny_recipe: Callable[..., Path], tmp_path: Path) -> None:
    """TensorBoard, killed at step 7 and resumed from a checkpoint of step 4."""
    recipe = load_recipe(tiny_recipe(logging={"tensorboard": True}))
    writer = RunWriter(tmp_path / "run")
    writer.folder.mkdir()

    def train(first: int, last: int) -> None:
        opened = open_loggers(recipe, writer.folder, first - 1)
        writer.keep_metrics_until(first - 1)
        for step in range(first, last + 1):
            row = {"step": step, "kind": "train", "loss": 10.0 * first + step, "lr": 0.5}
            writer.log(row)
            opened.log(row)
            opened.log({"step": step, "kind": "coefficients", "values": {}})  # not for them
        opened.close()

    train(1, 7)
    train(5, 8)
    losses = [
        (step, value) for tag, step, value in of_tensorboard(writer.folder / "tensorboard") if tag == "train/loss"
    ]
    assert losses == [*((step, 10.0 + step) for step in range(1, 5)), *((step, 50.0 + step) for step in range(5, 9))]


def test_a_logger_that_is_not_installed_is_told_before_anything_is_made(
    tiny_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        loggers, "NEEDED", {"tensorboard": ("tensorboard",), "wandb": ("a_folder",), "mlflow": ("nowhere",)}
    )
    recipe = load_recipe(tiny_recipe(logging={"tensorboard": True, "wandb": True, "mlflow": True}))
    with pytest.raises(BadInput) as caught:
        check_installed(recipe.logging)
    assert [str(problem) for problem in caught.value.problems] == [
        f"logging.{name}: {name} is not installed (pip install 'actbench[{name}]')" for name in ("wandb", "mlflow")
    ]


def test_the_command_tells_a_logger_that_is_not_installed(
    actbench: Command, tiny_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    absent = [name for name, libraries in NEEDED.items() if not all(map(loggers._is_there, libraries))]
    if not absent:
        pytest.skip("all loggers are installed")
    done = actbench("pretrain", "-r", tiny_recipe(), "--set", f"logging.{absent[0]}=true", check=2)
    assert f"pip install 'actbench[{absent[0]}]'" in done.stderr and not (tmp_path / "runs").exists()


def test_the_command_tells_a_logger_that_is_misspelt(actbench: Command, tiny_recipe: Callable[..., Path]) -> None:
    done = actbench("pretrain", "-r", tiny_recipe(), "--set", "logging.wanbd=true", check=2)
    assert "logging.wanbd: unknown key (did you mean 'logging.wandb'?)" in done.stderr
