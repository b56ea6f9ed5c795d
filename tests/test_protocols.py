"""RAFT's protocol and the official one: what chooses the epoch, what is counted, and what a report says of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import fake_runs
import pytest
from datasets import Dataset
from nli_files import mnli

from actbench.analysis.cohorts import cohorts
from actbench.analysis.compare import asked, differing
from actbench.analysis.comparisons import compare
from actbench.analysis.over_tasks import over_tasks
from actbench.analysis.task_numbers import how_counted, mean_over_tasks, task_number
from actbench.cli import finetune as command
from actbench.config import FinetuneSettings, SquadSettings, load_recipe
from actbench.data.glue import TASKS, expand
from actbench.data.tasks import Example, TaskData
from actbench.errors import BadInput
from actbench.report.caveats import caveats
from actbench.report.task_tables import tasks_table
from actbench.store import Run, identity_hash
from actbench.training import plan, pretrain
from actbench.training.finetune_plan import FinetunePlan, _identity, check_size


def data(train: int, **sizes: int) -> TaskData[Example]:
    """MNLI with so many examples, each different."""
    examples = {split: [Example(f"{split} {i}", "b", 0.0) for i in range(n)] for split, n in sizes.items()}
    facts = {split: {"examples_sha256": split} for split in ("train", *sizes)}
    return TaskData(TASKS["mnli"], [Example(f"train {i}", "b", 0.0) for i in range(train)], examples, {"splits": facts})


def examples_of(task: TaskData[Example], **settings: Any) -> tuple[list[Example], list[Example]]:
    planned = FinetunePlan(Run(Path("x")), task, FinetuneSettings(**settings), seed=3, folder=Path("y"))
    return planned.train_and_selection()


def test_the_official_protocol_learns_from_all_and_chooses_by_the_first_development_set() -> None:
    task = data(40, dev_matched=9, dev_mismatched=8)
    learnt, chosen = examples_of(task, protocol="official")
    assert learnt == task.train and chosen == task.evaluation["dev_matched"]
    few, chosen = examples_of(task, protocol="official", train_size=35)
    assert len(set(few)) == 35 and set(few) < set(task.train)
    assert chosen == task.evaluation["dev_matched"]


def test_rafts_protocol_cuts_the_training_set_and_draws_from_either_part() -> None:
    task = data(41, dev_matched=9)
    learnt, chosen = examples_of(task)
    assert (len(learnt), len(chosen)) == (30, 11) and {*learnt, *chosen} == set(task.train)
    few, fewer = examples_of(task, train_size=20)
    assert (len(set(few)), len(set(fewer))) == (20, 11), "all of the second part, which has no 20"
    assert set(few) < set(learnt) and set(fewer) == set(chosen)
    assert set(examples_of(task, train_size=5)[1]) < set(chosen)


def test_rafts_examples_are_those_of_its_released_code() -> None:
    """The lines of run_glue.py (UKPLab/2022-RAFT): one seed shuffles the set, the run's draws from either part."""
    task = data(400, dev_matched=9)
    mixed = Dataset.from_dict({"number": range(400)}).shuffle(seed=96)
    numbers = int(len(mixed) * 0.75)
    parts = mixed.select(range(numbers)), mixed.select(range(numbers, len(mixed)))
    expected = []
    for part in parts:
        random.seed(3)
        expected.append(part.select(random.sample(range(len(part)), 50))["number"])
    found = examples_of(task, train_size=50)
    assert [[int(example.text_a.split()[1]) for example in part] for part in found] == [list(x) for x in expected]
    everything = examples_of(task)
    assert [[int(e.text_a.split()[1]) for e in part] for part in everything] == [list(part["number"]) for part in parts]


def test_runs_that_drew_otherwise_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = fake_runs.pretrain(tmp_path)
    assert parent.manifest is not None
    parent.manifest["files"]["model.safetensors"] = "weights"
    planned = FinetunePlan(parent, data(12, dev=3), FinetuneSettings(), 0, Path("y"))
    now = identity_hash(_identity(parent, planned.data, planned.settings, 0)), planned.data_hash
    monkeypatch.setattr("actbench.training.finetune_plan.DRAWING", "otherwise")
    then = identity_hash(_identity(parent, planned.data, planned.settings, 0)), planned.data_hash
    assert now[0] != then[0], "none is found finished"
    assert now[1] != then[1], "and none compared"


def test_the_official_protocol_needs_no_examples_to_choose_with() -> None:
    task = data(12, dev=3)
    check_size(task, FinetuneSettings(protocol="official", train_size=12))
    with pytest.raises(BadInput, match=r"12 training examples: too few for 13 to learn from .*at most 12"):
        check_size(task, FinetuneSettings(protocol="official", train_size=13))
    check_size(task, FinetuneSettings(train_size=9))
    with pytest.raises(BadInput, match=r"too few for 10 to learn from with a quarter left.*at most 9"):
        check_size(task, FinetuneSettings(train_size=10))


def test_a_new_setting_leaves_identities_alone(tmp_path: Path) -> None:
    parent = fake_runs.pretrain(tmp_path)
    assert parent.manifest is not None
    parent.manifest["files"]["model.safetensors"] = "weights"

    def settings(given: FinetuneSettings) -> Any:
        return _identity(parent, data(12, dev=3), given, 0)["settings"]

    assert settings(FinetuneSettings()) == settings(FinetuneSettings(keep_weights=True)) == {}
    assert settings(SquadSettings(keep_weights=True, protocol="official")) == {"epochs": 10, "protocol": "official"}


def test_rafts_tasks_are_all_but_wnli() -> None:
    assert expand(["raft"]) == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    assert expand(["wnli", "raft", "rte"]) == ["wnli", *expand(["raft"])] and len(expand(["all"])) == 9


def summary(task: str, seed: int, headline: float, **sets: dict[str, float]) -> dict[str, Any]:
    metric = "mean" if task == "stsb" else "accuracy"
    return {"task": task, "seed": seed, "scores": sets, "headline": {"metric": metric, "value": headline}}


def test_mnli_counts_with_the_mean_of_its_sets_and_a_seed_with_all_tasks() -> None:
    both = summary("mnli", 0, 0.8, dev_matched={"accuracy": 0.8}, dev_mismatched={"accuracy": 0.6})
    matched = summary("mnli", 0, 0.8, dev_matched={"accuracy": 0.8})
    assert task_number(both) == pytest.approx(0.7) and task_number(matched) == 0.8
    similar = [summary("stsb", s, 0.3 + s / 10, dev={"pearson": 0.4, "spearman": 0.2, "mean": 0.3}) for s in (0, 1)]
    found = mean_over_tasks([both, *similar], ["mnli", "stsb"])
    assert found is not None and (found.mean, found.seeds, found.sd) == (pytest.approx(0.5), 1, None)
    found = mean_over_tasks([both, {**both, "seed": 1}, *similar], ["mnli", "stsb"])
    assert found is not None and (found.mean, found.seeds) == (pytest.approx(0.525), 2)
    assert mean_over_tasks([both], ["mnli"]) is None and mean_over_tasks([both], ["mnli", "rte"]) is None


def test_the_sets_that_count_are_told() -> None:
    assert "mnli with the mean of dev_matched and dev_mismatched." in how_counted(
        {"rte": ["dev"], "mnli": ["dev_matched", "dev_mismatched"]}
    )
    assert "mnli with dev_matched alone, for dev_mismatched is absent." in how_counted({"mnli": ["dev_matched"]})
    assert "mnli" not in how_counted({"rte": ["dev"]})


OFFICIAL = {"protocol": "official"}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two activations on two tasks, by both protocols, MNLI's mismatched set 10 points below the matched one."""
    made = []
    for activation, better in (("gelu", 0.0), ("raf", 0.02)):
        for seed in (0, 1):
            parent = fake_runs.pretrain(tmp_path, activation, seed)
            made.append(parent)
            for number, settings in enumerate(({}, OFFICIAL)):
                score = 0.7 + better + number / 10
                sets = {"dev_matched": {"accuracy": score}, "dev_mismatched": {"accuracy": score - 0.1}}
                more = {"settings": settings, "stand_in": False}
                made.append(fake_runs.finetune(tmp_path, parent, "mnli", score=score, scores=sets, **more))
                made.append(fake_runs.finetune(tmp_path, parent, "rte", score=score, **more))
    return made


def test_protocols_are_never_compared_and_keep_their_names_over_tasks(runs: list[Run]) -> None:
    family = compare(runs, "gelu")
    names = {comparison.cohort.name for comparison in family.finetuning}
    assert names == {"bert-nano (protocol raft)", "bert-nano (protocol official)"}
    found = {(one.model, one.label): one for one in over_tasks(family.finetuning)}
    assert found["bert-nano (protocol raft)", "gelu"].mean.mean == pytest.approx((65 + 70) / 2)
    official = found["bert-nano (protocol official)", "raf"]
    assert official.mean.mean == pytest.approx((77 + 82) / 2)
    assert official.mean_difference is not None and official.mean_difference.mean == pytest.approx(2)
    (note,) = (note for note in tasks_table(family).notes if "protocol raft" in note)
    assert "over mnli, rte." in note and "mnli with the mean of dev_matched and dev_mismatched" in note


def test_a_run_recorded_before_the_keys_came_is_of_the_same_cohort(tmp_path: Path) -> None:
    parents = [fake_runs.pretrain(tmp_path, activation) for activation in ("gelu", "raf")]
    now = FinetuneSettings(train_size=300, epochs=5, keep_weights=True).model_dump(mode="json")
    tuned = [
        fake_runs.finetune(tmp_path, parent, settings=settings)
        for parent, settings in zip(parents, ({}, now), strict=True)
    ]
    assert "protocol" not in tuned[0].info["finetune"] and "protocol" in tuned[1].info["finetune"]
    assert not [one.key for one in differing(asked(tuned[0]), asked(tuned[1])) if one.key.startswith("finetune.")]
    (cohort,) = cohorts(tuned)
    assert len(cohort.variants) == 2 and cohort.name == "bert-nano"


def test_a_report_says_that_the_score_chose_its_epoch(runs: list[Run]) -> None:
    def said(some: list[Run]) -> str:
        return " ".join(caveats(some, "gelu"))

    assert "score on mnli and rte chose its own epoch (protocol official)" in said(runs)
    assert "chose its own" not in said([run for run in runs if run.info.get("finetune", {}).get("protocol") is None])


def test_the_score_of_the_official_protocol_is_the_one_that_chose(
    actbench: Any, tiny_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, glue = tmp_path / "runs", mnli(tmp_path / "GLUE")
    recipe = load_recipe(tiny_recipe(budget={"steps": 2}))
    parent = pretrain.pretrain(plan.plan(recipe, runs, lambda _: None), resume=False, say=lambda _: None)
    rows = [f"{i}\tthe {i % 7} river\ta stone\t{('entailment', 'not_entailment')[i % 2]}\n" for i in range(40)]
    (glue / "RTE").mkdir()
    for split in ("train", "dev"):
        (glue / "RTE" / f"{split}.tsv").write_text("".join(["index\tsentence1\tsentence2\tlabel\n", *rows]))
    words: dict[str, Any] = {"tasks": "mnli,rte", "data": str(glue), "train_size": "30", "seeds": "0-1", "runs": runs}
    settings = ["epochs=3", "lr=5e-3"]
    command.glue(parent.id, **words, protocol="official", settings=settings, as_json=True)
    done = json.loads(capsys.readouterr().out)
    for result in done["results"]:
        assert result["selection"] == result["headline"]["value"] and result["train_examples"] == 30
    over = done["over_tasks"]
    assert (over["tasks"], over["seeds"], over["subsets"]) == (["mnli", "rte"], 2, ["mnli", "rte"])
    assert over["mean"] == pytest.approx(sum(map(task_number, done["results"])) / 4)
    flags = ("--tasks", "mnli,rte", "--data", glue, "--train-size", 30, "--seeds", "0-1", "--protocol", "official")
    sets = [word for setting in settings for word in ("--set", setting)]
    shown = actbench("finetune", "glue", "--from", parent.id, *flags, *sets, check=0).stdout.splitlines()
    assert [line.split("  ")[0].strip() for line in shown[2:5]] == ["mnli", "mnli", "rte"]
    assert "accuracy (dev_mismatched)" in shown[3] and shown[5].startswith("mean over 2 tasks")
    assert shown[6].startswith("The mean is over mnli (a part of the published set), rte (a part")
    with pytest.raises(BadInput, match=r"--protocol: protocol: .*'raft' or 'official'"):
        command.glue(parent.id, **words, protocol="oficial")
