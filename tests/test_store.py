"""Runs on disk: found by what a user types, told apart from unfinished ones, checked by their hashes."""

import json

import pytest

from actbench.errors import BadInput
from actbench.store import Run, claim, find_run, identity_hash
from actbench.store.atomic import replacing


def make(root, name, finished=True):
    with claim(root / name) as writer:
        recipe = {"seed": 0, "model": {"activation": {"name": "gelu"}}}
        writer.describe({"kind": "pretrain", "recipe": recipe})
        writer.log({"step": 1, "kind": "train", "loss": 2.0})
        return writer.commit({"validation_loss": 2.0}) if finished else Run(writer.folder)


def test_a_run_is_found_by_folder_name_and_beginning(tmp_path):
    run = make(tmp_path, "bert-gelu-s0-12345678")
    make(tmp_path, "bert-raf-s0-abcdef01")
    for reference in (str(run.folder), run.id, "bert-gelu", "bert-g"):
        assert find_run(reference, tmp_path).folder == run.folder


def test_a_run_in_whose_folder_one_stands_has_its_name(tmp_path, monkeypatch):
    run = make(tmp_path, "bert-gelu-s0-12345678")
    (run.folder / "checkpoints").mkdir()
    for place, reference in (("", "."), ("checkpoints", "..")):
        monkeypatch.chdir(run.folder / place)
        assert find_run(reference, tmp_path).id == run.id


def test_what_was_fine_tuned_from_a_run_does_not_hide_it(tmp_path):
    run = make(tmp_path, "bert-gelu-s0-12345678")
    make(tmp_path, f"{run.id}-cola-100-s0-00000000")
    assert find_run("bert-gelu-s0", tmp_path).id == run.id


@pytest.mark.parametrize(
    "reference, told", [("bert", "could be any of 2"), ("bert-raff-s0-abcdef01", "bert-raf-s0-abcdef01")]
)
def test_a_reference_that_means_no_single_run_is_explained(tmp_path, reference, told):
    make(tmp_path, "bert-gelu-s0-12345678")
    make(tmp_path, "bert-raf-s0-abcdef01")
    with pytest.raises(BadInput, match=told):
        find_run(reference, tmp_path)


def test_status_follows_the_folder(tmp_path):
    run = make(tmp_path, "a", finished=False)
    assert run.status == "interrupted"
    with claim(run.folder) as writer:
        assert Run(run.folder).status == "running"
        writer.fail("the loss is no longer finite")
    assert Run(run.folder).status == "failed"
    with claim(run.folder) as writer:
        writer.commit({})
    assert Run(run.folder).status == "finished" and not (run.folder / "failure.json").exists()


def test_a_changed_byte_is_noticed_and_a_missing_file_too(tmp_path):
    run = make(tmp_path, "a")
    assert run.damaged_files() == []
    (run.folder / "metrics.jsonl").write_text("{}\n")
    (run.folder / "run.json").unlink()
    assert sorted(Run(run.folder).damaged_files()) == ["metrics.jsonl", "run.json"]


def test_a_damaged_record_is_named(tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "run.json").write_text('{"kind": ')
    with pytest.raises(BadInput, match=r"run\.json"):
        _ = Run(run.folder).info


def test_a_damaged_row_is_named(tmp_path):
    run = make(tmp_path, "a")
    path = run.folder / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(BadInput, match=r"metrics\.jsonl:2: damaged"):
        Run(run.folder).metrics()


def test_a_torn_row_is_left_out_and_rows_past_the_checkpoint_are_dropped(tmp_path):
    with claim(tmp_path / "a") as writer:
        for step in range(1, 6):
            writer.log({"step": step})
        with writer.metrics_path.open("a") as file:
            file.write('{"step": 6, "lo')
        assert [row["step"] for row in Run(writer.folder).metrics()] == [1, 2, 3, 4, 5]
        writer.keep_metrics_until(3)
        assert [json.loads(line)["step"] for line in writer.metrics_path.read_text().splitlines()] == [1, 2, 3]


def test_no_number_that_is_none_reaches_a_file(tmp_path):
    with claim(tmp_path / "a") as writer, pytest.raises(ValueError):
        writer.log({"loss": float("nan")})


def test_identity_does_not_depend_on_the_order_of_keys():
    assert identity_hash({"a": 1, "b": 2}) == identity_hash({"b": 2, "a": 1}) != identity_hash({"a": 1, "b": 3})


def test_a_full_disk_names_the_file_and_leaves_none(tmp_path):
    with pytest.raises(OSError) as caught, replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
