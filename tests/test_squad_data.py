"""SQuAD is read as its files are, from files or the hub, and with a place for everything wrong."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from squad_files import asked, file_of, made_up, write

from actbench.data.squad import TASKS, digest, load_squad, read_questions
from actbench.data.tasks import Answer, Question
from actbench.errors import BadInput

REAL = Path(__file__).parents[2] / "shared" / "data" / "squad"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"needs SQuAD's files in {REAL}")

TEXT = "Denver beat Carolina in 2016."


def problem(call: Callable[[], Any]) -> str:
    """The message of the BadInput that it raises."""
    with pytest.raises(BadInput) as caught:
        call()
    return str(caught.value)


@needs_real
def test_real_files_give_every_question_and_are_called_a_subset() -> None:
    data = load_squad("squad", REAL)
    assert (len(data.train), len(data.evaluation["dev"])) == (11_877, 4_961)
    assert data.facts["subset"] is True and data.facts["subset_splits"] == ["train", "dev"]
    splits = data.facts["splits"]
    assert (splits["train"]["official_rows"], splits["dev"]["official_rows"]) == (87_599, 10_570)
    assert splits["dev"]["sha256"] == hashlib.sha256((REAL / "dev-v1.1.json").read_bytes()).hexdigest()
    json.dumps(data.facts)
    first = data.evaluation["dev"][0]
    assert isinstance(first, Question) and first.answers == (Answer("Denver Broncos", 177),) * 3
    assert first.context[177:191] == "Denver Broncos"


def test_a_question_is_read_with_its_text_and_answers(tmp_path: Path) -> None:
    content = file_of(
        [asked("q1", "Who won?", ("Denver", 0)), asked("q2", "When?", ("2016", 24), ("in 2016", 21))], TEXT
    )
    data = load_squad("squad", write(tmp_path, train=content, dev=content))
    assert data.train == [
        Question("q1", "Who won?", TEXT, (Answer("Denver", 0),)),
        Question("q2", "When?", TEXT, (Answer("2016", 24), Answer("in 2016", 21))),
    ]
    assert data.train[0].context is data.train[1].context, "a text is kept once"


def test_f1_chooses_the_epoch_and_heads_the_tables() -> None:
    assert {task.headline for task in TASKS.values()} == {"f1"}
    assert TASKS["squad"].metrics == ("f1", "exact_match")


def test_version_two_has_questions_without_an_answer(tmp_path: Path) -> None:
    plausible = asked("q2", "Who lost?", is_impossible=True, plausible_answers=[{"text": "Denver", "answer_start": 0}])
    content = file_of([asked("q1", "Who won?", ("Denver", 0), is_impossible=False), plausible], TEXT)
    data = load_squad("squad_v2", write(tmp_path, "2.0", train=content, dev=content))
    assert [question.answers for question in data.train] == [(Answer("Denver", 0),), ()]
    assert data.facts["version"] == "2.0" and "without_answer" not in data.facts["splits"]["train"]


def test_where_every_text_must_have_the_answer_others_are_no_training_questions(tmp_path: Path) -> None:
    """TriviaQA in SQuAD's format has questions whose answer is not in the text that was found."""
    content = file_of([asked("q1", "Who won?", ("Denver", 0)), asked("q2", "Where?")], TEXT)
    data = load_squad("squad", write(tmp_path, train=content, dev=content))
    assert [question.id for question in data.train] == ["q1"]
    assert data.facts["splits"]["train"]["without_answer"] == 1 and data.facts["splits"]["train"]["rows"] == 1
    assert [question.id for question in data.evaluation["dev"]] == ["q1", "q2"], "a test is never made easier"


def test_to_score_an_answer_its_words_are_enough(tmp_path: Path) -> None:
    content = file_of([asked("tc_1--web/1.txt", "Who won?", ("DENVER", -1))], TEXT)
    file = write(tmp_path, train=content) / "train-v1.1.json"
    questions, facts = read_questions(file, training=False)
    assert questions[0].answers == (Answer("DENVER", -1),)
    assert facts == {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert "answer_start -1" in problem(lambda: read_questions(file, training=True))


def test_the_digest_tells_every_part_of_a_question() -> None:
    one = Question("q1", "Who won?", TEXT, (Answer("Denver", 0),))
    others = [
        Question("q2", "Who won?", TEXT, one.answers),
        Question("q1", "Who lost?", TEXT, one.answers),
        Question("q1", "Who won?", TEXT + " ", one.answers),
        Question("q1", "Who won?", TEXT, ()),
        Question("q1", "Who won?", TEXT, (Answer("Denver", 1),)),
    ]
    assert len({digest([question]) for question in [one, *others]}) == 6


GOOD = asked("q1", "Who won?", ("Denver", 0))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "train-v1.1.json: not JSON: "),
        ("[1, 2]", "train-v1.1.json"),
        ({"version": "1.1"}, "train-v1.1.json: data: Field required (SQuAD's format is"),
        (
            file_of([{"question": "?", "answers": []}], TEXT),
            "data[0].paragraphs[0].qas[0].id: Field required",
        ),
        (file_of([{**GOOD, "answers": [{"text": "Denver"}]}], TEXT), "qas[0].answers[0].answer_start: Field required"),
        (file_of([GOOD, {**GOOD, "id": 2}], TEXT), "qas[1].id: Input should be a valid string"),
        (file_of([GOOD, GOOD], TEXT), "qas[1]: the id 'q1' comes 2 times"),
        (
            file_of([asked("q", "Who?", ("Carolina", 11))], TEXT),
            "answer_start 11 leads to ' Carolin' instead of 'Carolina'",
        ),
        (file_of([asked("q", "Who?", ("", 0))], TEXT), "qas[0]: answer_start 0 leads to '' instead of ''"),
        (file_of([{**GOOD, "is_impossible": True}], TEXT), "qas[0]: is_impossible, and yet it has answers"),
        ({"data": []}, "the file has no questions"),
    ],
)
def test_a_broken_file_is_told_with_the_place(tmp_path: Path, content: Any, expected: str) -> None:
    folder = write(tmp_path / "squad", train=content, dev=file_of([GOOD], TEXT))
    assert expected in problem(lambda: load_squad("squad", folder))


def test_a_file_that_is_wrong_throughout_is_not_told_question_by_question(tmp_path: Path) -> None:
    content = file_of([asked(f"q{i}", "Who?", ("Carolina", 0)) for i in range(100)], TEXT)
    message = problem(lambda: load_squad("squad", write(tmp_path, train=content, dev=content)))
    assert len(message.splitlines()) == 6 and message.endswith("and 95 more problems")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = made_up(tmp_path)
    (folder / "dev-v1.1.json").write_bytes(b'{"data": [{"paragraphs": [{"context": "caf\xe9", "qas": []}]}]}')
    assert "dev-v1.1.json: not JSON" in problem(lambda: load_squad("squad", folder))


def test_what_is_missing_is_named_with_what_is_there(tmp_path: Path) -> None:
    assert "no such folder" in problem(lambda: load_squad("squad", tmp_path / "absent"))
    made_up(tmp_path, "2.0", train=2, dev=2)
    expected = "no train-v1.1.json here (found: dev-v2.0.json, train-v2.0.json)"
    assert expected in problem(lambda: load_squad("squad", tmp_path))
    assert "no such file" in problem(lambda: read_questions(tmp_path / "x.json", training=False))
    assert "did you mean 'squad_v2'?" in problem(lambda: load_squad("squad_v3", tmp_path))


class HubSplit(dict[str, list[Any]]):
    """Columns, as a split of `datasets` gives them."""

    info = SimpleNamespace(download_checksums={"hf://datasets/rajpurkar/squad@abc/train.parquet": {}})


def test_hub_and_files_give_the_same_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of([GOOD, asked("q2", "When?", ("2016", 24), ("in 2016", 21))], TEXT)
    files = load_squad("squad", write(tmp_path, train=content, dev=content))
    answers = [{"text": ["Denver"], "answer_start": [0]}, {"text": ["2016", "in 2016"], "answer_start": [24, 21]}]
    split = HubSplit(
        id=["q1", "q2"], title=["t"] * 2, context=[TEXT] * 2, question=["Who won?", "When?"], answers=answers
    )
    seen = []

    def load_dataset(*names: str) -> dict[str, HubSplit]:
        seen.append(names)
        return {"train": split, "validation": split}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    hub = load_squad("squad", None)
    assert seen == [("rajpurkar/squad",)]
    assert (hub.train, hub.evaluation) == (files.train, files.evaluation)
    hashes = [data.facts["splits"]["train"]["examples_sha256"] for data in (files, hub)]
    assert hashes[0] == hashes[1]
    assert hub.facts["files"] == ["hf://datasets/rajpurkar/squad@abc/train.parquet"]
    load_squad("squad_v2", None)
    assert seen[-1] == ("rajpurkar/squad_v2",)


def test_without_a_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*names: str) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    message = problem(lambda: load_squad("squad_v2", None))
    for part in ("rajpurkar/squad_v2: the hub cannot be reached", "--data DIR", "train-v2.0.json and dev-v2.0.json"):
        assert part in message
