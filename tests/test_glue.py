"""GLUE is read as its files are: without quoting, by column name, and with a place for everything wrong."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actbench.data.glue import TASKS, load_glue
from actbench.data.tasks import Example, digest, sample, shuffled
from actbench.errors import BadInput

REAL = Path(__file__).parents[2] / "shared" / "data" / "glue"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"needs GLUE's files in {REAL}")

MNLI_HEADER = "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n"
STSB_HEADER = "index\tsentence1\tsentence2\tscore\n"
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"


def write(folder: Path, **files: str | bytes) -> Path:
    """A task's folder with those TSV files; returns the folder above it."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder.parent


def problem(task: str, data: Path) -> str:
    """The message of the BadInput that loading raises."""
    with pytest.raises(BadInput) as caught:
        load_glue(task, data)
    return str(caught.value)


SIZES = {
    "cola": (8551, {"dev": 1043}),
    "sst2": (67349, {"dev": 872}),
    "mrpc": (3668, {"dev": 408}),
    "stsb": (5749, {"dev": 1500}),
    "qqp": (8999, {"dev": 1000}),
    "mnli": (8999, {"dev_matched": 1000}),
    "qnli": (8999, {"dev": 1000}),
    "rte": (2490, {"dev": 277}),
    "wnli": (635, {"dev": 71}),
}


@needs_real
@pytest.mark.parametrize("name", SIZES)
def test_real_files_give_every_row_and_label(name: str) -> None:
    data = load_glue(name, REAL)
    train, evaluation = SIZES[name]
    assert (len(data.train), {split: len(rows) for split, rows in data.evaluation.items()}) == (
        train,
        evaluation,
    )
    subset = name in ("qqp", "mnli", "qnli")
    assert data.facts["subset"] is subset
    assert data.facts["subset_splits"] == (["train", *evaluation] if subset else [])
    labels = {example.label for example in data.train}
    if data.task.kind == "regression":
        assert (min(labels), max(labels)) == (0.0, 5.0)
    else:
        assert labels == set(range(data.task.n_classes))
    assert all((e.text_b is None) == (name in ("cola", "sst2")) for e in data.train)
    file = REAL / Path(data.facts["folder"]).name / "train.tsv"
    assert data.facts["splits"]["train"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    json.dumps(data.facts)


@needs_real
def test_real_mrpc_keeps_its_quotes_and_loses_its_byte_order_mark() -> None:
    first = load_glue("mrpc", REAL).train[0]
    assert first.text_a.startswith('Amrozi accused his brother , whom he called " the witness " ,')
    assert first.label == 1.0


def test_the_tasks_are_glues() -> None:
    headlines = {name: task.headline for name, task in TASKS.items()}
    assert headlines == dict.fromkeys(("sst2", "mnli", "qnli", "rte", "wnli"), "accuracy") | {
        "cola": "matthews", "mrpc": "mean", "qqp": "mean", "stsb": "mean",
    }  # fmt: skip
    assert TASKS["mnli"].n_classes == 3
    assert TASKS["stsb"].n_classes == 1
    assert not any(task.stand_in for task in TASKS.values())


def test_a_quote_is_text_and_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    texts = ['He said "no.\r The\u2028 end\x85.', ' Second "row. ']
    content = f"gj04\t0\t*\t{texts[0]}\r\nx\t1\t\t{texts[1]}\n"
    data = load_glue("cola", write(tmp_path / "CoLA", train=content, dev=content))
    assert data.train == [Example(texts[0], None, 0.0), Example(texts[1], None, 1.0)]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    content = "score\tsentence2\tsentence1\n2.5\tsecond\tfirst\n"
    data = load_glue("stsb", write(tmp_path / "STS-B", train=content, dev=content))
    assert data.train == [Example("first", "second", 2.5)]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    data = write(tmp_path / "STS-B", train="index\tsentence1\tscore\n", dev=STSB_HEADER)
    assert "train.tsv:1: no column sentence2 (the first line names: index, sentence1, score)" in problem("stsb", data)


@pytest.mark.parametrize("folder", ["SST-2", "sst2", "sst_2", "Sst-2"])
def test_a_folder_is_found_in_any_usual_spelling(tmp_path: Path, folder: str) -> None:
    content = "sentence\tlabel\ngood \t1\n"
    data = write(tmp_path / folder, train=content, dev=content)
    assert load_glue("sst2", data).train == [Example("good ", None, 1.0)]
    assert load_glue("sst2", data / folder).train == [Example("good ", None, 1.0)]


def test_label_words_become_the_hubs_class_indices(tmp_path: Path) -> None:
    rows = "".join(f"0\tfiction\ta\tb\t{x}\t{x}\n" for x in ("entailment", "neutral", "contradiction"))
    data = write(tmp_path / "MNLI", train=MNLI_HEADER + rows, dev_matched=MNLI_HEADER + rows)
    assert [e.label for e in load_glue("mnli", data).train] == [0.0, 1.0, 2.0]


def test_mismatched_mnli_is_read_where_present(tmp_path: Path) -> None:
    content = MNLI_HEADER + "0\tfiction\ta\tb\tneutral\tneutral\n"
    without = write(tmp_path / "one" / "MNLI", train=content, dev_matched=content)
    assert list(load_glue("mnli", without).evaluation) == ["dev_matched"]
    both = write(tmp_path / "two" / "MNLI", train=content, dev_matched=content, dev_mismatched=content)
    assert list(load_glue("mnli", both).evaluation) == ["dev_matched", "dev_mismatched"]


def test_broken_rows_are_all_reported_with_their_lines(tmp_path: Path) -> None:
    bad = STSB_HEADER + "0\ta\tb\t5.0\n1\ta\tb\n2\ta\tb\thigh\n3\ta\tb\t5.1\n4\ta\tb\tnan\n"
    message = problem("stsb", write(tmp_path / "STS-B", train=bad, dev=bad))
    assert "train.tsv:3: 3 columns instead of 4" in message
    for line, score in ((4, "high"), (5, "5.1"), (6, "nan")):
        assert f"train.tsv:{line}: '{score}' is no score from 0 to 5" in message


def test_an_unknown_label_lists_those_accepted(tmp_path: Path) -> None:
    bad = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tyes\n"
    message = problem("rte", write(tmp_path / "RTE", train=bad, dev=bad))
    assert "train.tsv:2: unknown label 'yes', accepted: entailment, not_entailment" in message


def test_a_file_that_is_wrong_throughout_is_not_reported_row_by_row(tmp_path: Path) -> None:
    bad = "sentence\tlabel\n" + "no label here\n" * 100
    message = problem("sst2", write(tmp_path / "SST-2", train=bad, dev=bad))
    assert len(message.splitlines()) == 6
    assert message.endswith("and 95 more problems")


def test_qqps_few_broken_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    good = "0\t1\t2\tq one?\tq two?\t1\n"
    train = QQP_HEADER + good * 200 + "0\t1\t2\tbroken by\n" + "a newline?\tq two?\t0\n" + good * 700
    data = load_glue("qqp", write(tmp_path / "QQP", train=train, dev=QQP_HEADER + good))
    assert len(data.train) == 900
    assert data.facts["splits"]["train"]["skipped_rows"] == 2


def test_qqp_with_many_broken_rows_is_refused(tmp_path: Path) -> None:
    train = QQP_HEADER + "0\t1\t2\tq one?\tq two?\t1\n" * 100 + "0\t1\t2\tbroken\n"
    assert "train.tsv:102: 4 columns instead of 6" in problem("qqp", write(tmp_path / "QQP", train=train, dev=train))


def test_a_missing_folder_says_what_was_found_and_the_nearest(tmp_path: Path) -> None:
    for folder in ("CoLA", "RTE", "QNLI-v2"):
        (tmp_path / folder).mkdir()
    message = problem("qnli", tmp_path)
    assert "no folder QNLI here; task folders found: CoLA, RTE (did you mean 'QNLI-v2'?)" in message
    assert "no such folder" in problem("qnli", tmp_path / "absent")


def test_a_missing_file_says_what_is_there(tmp_path: Path) -> None:
    data = write(tmp_path / "RTE", train="index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n", test="")
    assert problem("rte", data).endswith("RTE: no dev.tsv here (found: test.tsv, train.tsv)")


@pytest.mark.parametrize("content", [b"", b"sentence\tlabel\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "train.tsv" in problem("sst2", write(tmp_path / "SST-2", train=content, dev=content))


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    bad = b"sentence\tlabel\ncaf\xe9\t1\n"
    assert "train.tsv: not UTF-8 text" in problem("sst2", write(tmp_path / "SST-2", train=bad, dev=bad))


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'mnli'?" in problem("mnlii", tmp_path)


class HubSplit(dict[str, list[Any]]):
    """Columns, as a split of `datasets` gives them."""

    info = SimpleNamespace(download_checksums={"hf://datasets/nyu-mll/glue@abc/mrpc/train.parquet": {}})


def test_hub_and_files_give_the_same_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, row = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", "1\t7\t8\tone\ttwo\n"
    files = load_glue("mrpc", write(tmp_path / "MRPC", train="\ufeff" + header + row, dev=header + row))
    split = HubSplit(sentence1=["one"], sentence2=["two"], label=[1], idx=[0])
    asked = []

    def load_dataset(*names: str) -> dict[str, HubSplit]:
        asked.append(names)
        return {"train": split, "validation": split}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    hub = load_glue("mrpc", None)
    assert asked == [("nyu-mll/glue", "mrpc")]
    assert (hub.train, hub.evaluation) == (files.train, files.evaluation)
    hashes = [data.facts["splits"]["train"]["examples_sha256"] for data in (files, hub)]
    assert hashes == [digest(files.train)] * 2
    assert hub.facts["files"] == ["hf://datasets/nyu-mll/glue@abc/mrpc/train.parquet"]
    assert hub.facts["subset"] is True


def test_the_hubs_float32_scores_are_those_of_the_files() -> None:
    for score in (3.8, 2.333333, 4.57142857142857):
        files, hub = (Example("a", "b", each) for each in (score, float(np.float32(score))))
        assert files.label != hub.label and digest([files]) == digest([hub])
    assert digest([Example("a", "b", 3.8)]) != digest([Example("a", "b", 3.6)])


def test_without_a_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*names: str) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(BadInput) as caught:
        load_glue("rte", None)
    message = str(caught.value)
    for part in (
        "nyu-mll/glue: the hub cannot be reached",
        "--data DIR",
        "CoLA, SST-2, MRPC, STS-B",
        "actbench finetune probes",
    ):
        assert part in message


EXAMPLES = [Example(str(i), None, 0.0) for i in range(500)]


def test_a_sample_is_the_one_that_rafts_code_draws() -> None:
    """As run_glue.py of UKPLab/2022-RAFT: random.seed(seed), then random.sample of a range."""
    random.seed(3)
    drawn = random.sample(range(len(EXAMPLES)), 100)
    assert sample(EXAMPLES, 100, seed=3) == [EXAMPLES[i] for i in drawn]
    assert sample(EXAMPLES, 100, seed=3) != sample(EXAMPLES, 100, seed=4)


def test_examples_are_shuffled_as_datasets_shuffles_them() -> None:
    """As run_glue.py does, with seed 96, before it cuts the training set."""
    import datasets

    expected = datasets.Dataset.from_dict({"number": range(len(EXAMPLES))}).shuffle(seed=96)
    assert [int(example.text_a) for example in shuffled(EXAMPLES, 96)] == expected["number"]


def test_reading_a_task_imports_no_framework() -> None:
    code = (
        "import sys\n"
        "from actbench.data import encoding, glue, probes\n"
        "from actbench.evaluation import metrics\n"
        "heavy = {'torch', 'lightning', 'torchmetrics', 'scipy', 'datasets'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
