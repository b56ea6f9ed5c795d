"""SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018): from its JSON files, other files of that format, or the hub.

The test sets are not public, so `evaluation` holds the official development sets.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from actbench.data.hub import load_splits
from actbench.data.tasks import Answer, Question, Task, TaskData
from actbench.errors import BadInput, Problem, bad_file, nearest

TASKS: dict[str, Task] = {name: Task(name, "spans", (), ("f1", "exact_match")) for name in ("squad", "squad_v2")}
"""The tasks by name; in `squad_v2`, SQuAD 2.0, some texts do not answer their question."""

VERSIONS = {"1.1": "squad", "2.0": "squad_v2"}


@dataclass(frozen=True)
class _Release:
    """Where a version is found, and how many questions each split has."""

    version: str
    hub: str
    official: dict[str, int]

    def file(self, split: str) -> str:
        """The split's file name."""
        return f"{split}-v{self.version}.json"


_RELEASES = {
    "squad": _Release("1.1", "rajpurkar/squad", {"train": 87_599, "dev": 10_570}),
    "squad_v2": _Release("2.0", "rajpurkar/squad_v2", {"train": 130_319, "dev": 11_873}),
}
_HUB_SPLIT = {"train": "train", "dev": "validation"}


class _Answer(BaseModel):
    text: str
    answer_start: int


class _Asked(BaseModel):
    id: str
    question: str
    answers: list[_Answer]
    is_impossible: bool = False


class _Paragraph(BaseModel):
    context: str
    qas: list[_Asked]


class _Article(BaseModel):
    paragraphs: list[_Paragraph]


class _File(BaseModel):
    data: list[_Article]


def load_squad(name: str, data: Path | None) -> TaskData[Question]:
    """The task `name` from the folder `data` (as train-v1.1.json and dev-v1.1.json), or from the hub for None.

    Raises BadInput for an unknown task, a missing or broken file (with the place in it) and a hub that cannot be
    reached. In `squad`, training questions without an answer are left out and counted in the facts.
    """
    if name not in TASKS:
        raise BadInput(Problem(f"SQuAD has no task '{name}'", hint=nearest(name, list(TASKS))))
    splits, facts = _from_hub(name) if data is None else _from_folder(name, data)
    if name == "squad":
        answered = [question for question in splits["train"] if question.answers]
        facts["splits"]["train"]["without_answer"] = len(splits["train"]) - len(answered)
        splits["train"] = answered
    official = _RELEASES[name].official
    for split, questions in splits.items():
        facts["splits"][split] |= {
            "rows": len(questions),
            "official_rows": official[split],
            "examples_sha256": digest(questions),
        }
    small = [split for split in splits if len(splits[split]) < official[split]]
    facts |= {"task": name, "version": _RELEASES[name].version, "subset": bool(small), "subset_splits": small}
    return TaskData(TASKS[name], splits.pop("train"), splits, facts)


def read_questions(file: Path, *, training: bool) -> tuple[list[Question], dict[str, Any]]:
    """The questions of a file in SQuAD's format, and its name and sha256.

    In `training`, an answer must stand where the file says; to score a prediction its words are enough. Raises BadInput
    for a file that is missing or not of the format, naming the place.
    """
    if not file.is_file():
        raise BadInput(Problem("no such file", where=str(file)))
    content = file.read_bytes()
    try:
        parsed = _File.model_validate_json(content)
    except ValidationError as error:
        raise bad_file(list(_format_problems(error, file)), file) from None
    placed = list(_placed(parsed))
    if problems := list(_problems(placed, file, training)):
        raise bad_file(problems, file)
    if not placed:
        raise BadInput(Problem("the file has no questions", where=str(file)))
    questions = [_question(asked, paragraph.context) for _, paragraph, asked in placed]
    return questions, {"file": file.name, "sha256": hashlib.sha256(content).hexdigest()}


def digest(questions: Sequence[Question]) -> str:
    """The sha256 of the questions, their texts and answers, in hexadecimal: the same wherever they were read from."""
    total = hashlib.sha256()
    for question in questions:
        answers = [(answer.text, answer.start) for answer in question.answers]
        total.update(repr((question.id, question.text, question.context, answers)).encode() + b"\n")
    return total.hexdigest()


def _from_folder(name: str, data: Path) -> tuple[dict[str, list[Question]], dict[str, Any]]:
    release = _RELEASES[name]
    if not data.is_dir():
        raise BadInput(Problem("no such folder", where=str(data), hint=f"give the folder of {release.file('train')}"))
    splits, files = {}, {}
    for split in release.official:
        file = data / release.file(split)
        if not file.is_file():
            present = sorted(path.name for path in data.glob("*.json"))
            hint = f"found: {', '.join(present) or 'no JSON file'}"
            raise BadInput(Problem(f"no {file.name} here", where=str(data), hint=hint))
        splits[split], files[split] = read_questions(file, training=split == "train")
    return splits, {"source": "files", "folder": str(data), "splits": files}


def _placed(parsed: _File) -> Iterator[tuple[str, _Paragraph, _Asked]]:
    """Every question with its place in the file and its paragraph."""
    for i, article in enumerate(parsed.data):
        for j, paragraph in enumerate(article.paragraphs):
            for k, asked in enumerate(paragraph.qas):
                yield f"data[{i}].paragraphs[{j}].qas[{k}]", paragraph, asked


def _problems(placed: Sequence[tuple[str, _Paragraph, _Asked]], file: Path, training: bool) -> Iterator[Problem]:
    times = Counter(asked.id for _, _, asked in placed)
    for place, paragraph, asked in placed:
        if times[asked.id] > 1:
            yield Problem(f"the id '{asked.id}' comes {times[asked.id]} times", str(file), place)
        if asked.is_impossible and asked.answers:
            yield Problem("is_impossible, and yet it has answers", str(file), place)
        for answer in asked.answers if training else ():
            end = answer.answer_start + len(answer.text)
            there = paragraph.context[max(0, answer.answer_start) : max(0, end)]
            if answer.answer_start < 0 or not answer.text or there.lower() != answer.text.lower():
                what = f"answer_start {answer.answer_start} leads to '{there}' instead of '{answer.text}'"
                yield Problem(what, str(file), place)


def _format_problems(error: ValidationError, file: Path) -> Iterator[Problem]:
    for found in error.errors():
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
        if found["type"] == "json_invalid":
            yield Problem(f"not JSON: {found['msg'].removeprefix('Invalid JSON: ')}", str(file))
        else:
            hint = 'SQuAD\'s format is {"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}'
            yield Problem(found["msg"], str(file), "".join(parts).lstrip("."), hint)


def _question(asked: _Asked, context: str) -> Question:
    answers = tuple(Answer(answer.text, answer.answer_start) for answer in asked.answers)
    return Question(asked.id, asked.question, context, answers)


def _from_hub(name: str) -> tuple[dict[str, list[Question]], dict[str, Any]]:
    release = _RELEASES[name]
    wanted = " and ".join(release.file(split) for split in release.official)
    found = load_splits(release.hub, hint=f"give --data DIR, a folder with {wanted}")
    splits = {split: _hub_questions(found[_HUB_SPLIT[split]]) for split in release.official}
    files = sorted(found["train"].info.download_checksums or {})  # their addresses name the exact revision
    return splits, {"source": release.hub, "files": files, "splits": {split: {} for split in splits}}


def _hub_questions(rows: Any) -> list[Question]:
    contexts: dict[str, str] = {}  # one string for all questions about a text
    questions = []
    for id, text, context, answers in zip(
        *(rows[key] for key in ("id", "question", "context", "answers")), strict=True
    ):
        pairs = zip(answers["text"], answers["answer_start"], strict=True)
        right = tuple(Answer(answer, int(start)) for answer, start in pairs)
        questions.append(Question(id, text, contexts.setdefault(context, context), right))
    return questions
