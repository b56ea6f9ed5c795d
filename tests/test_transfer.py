"""A fine-tuned run keeps its weights where asked to, and is tested with them on another task's data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import squad_files
import torch
from conftest import write_recipe
from nli_files import labelled, mnli, pairs
from studies import carry_out, planned

from actbench.analysis.comparisons import compare
from actbench.cli import eval_transfer
from actbench.config import FinetuneSettings, SquadSettings, load_recipe
from actbench.data.glue import NLI, load_glue
from actbench.data.squad import load_squad, read_questions
from actbench.data.tasks import Example, Task
from actbench.errors import BadInput
from actbench.evaluation import transfer
from actbench.evaluation.load import load, load_finetuned
from actbench.evaluation.objectives import Verdict
from actbench.evaluation.predictions import plan_predictions, write_predictions
from actbench.evaluation.squad import score_v1, score_v2
from actbench.evaluation.transfer import _relabelled, evaluate_transfer
from actbench.evaluation.transfer_plan import TransferPlan, plan_transfer, suits
from actbench.nn.bert import Bert
from actbench.report.transfer_table import transfer_table
from actbench.store import Run, list_runs
from actbench.study import Graph
from actbench.training import finetune as training
from actbench.training import plan, pretrain
from actbench.training.finetune_plan import plan_finetuning

REAL = Path(__file__).parents[2] / "shared" / "data" / "glue"
FEW: dict[str, Any] = {"train_size": 18, "epochs": 2, "batch_size": 8, "lr": 5e-3, "precision": "fp32"}
ROWS = [*pairs(12, 9), ("a river", "a stone", "-")]


def quiet(message: str) -> None:
    pass


class Place:
    """A folder with a pre-trained BERT, and what was fine-tuned from it."""

    def __init__(self, folder: Path, corpus_file: Path):
        self.runs = folder / "runs"
        recipe = load_recipe(
            write_recipe(folder, corpus_file, model={"activation": {"name": "raf"}}, budget={"steps": 4})
        )
        self.parent = pretrain.pretrain(plan.plan(recipe, self.runs, quiet), resume=False, say=quiet)
        self.glue = mnli(folder / "GLUE")
        self.mnli = self.tune(load_glue("mnli", self.glue), FinetuneSettings(**FEW, keep_weights=True))

    def tune(self, data: Any, settings: FinetuneSettings) -> Run:
        (run,) = training.finetune(plan_finetuning(self.parent, [data], [0], settings, self.runs), quiet)
        assert run.manifest is not None, run.failure
        return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> Place:
    return Place(tmp_path_factory.mktemp("transfer"), corpus_file)


def test_kept_weights_are_the_ones_that_were_scored(place: Place, tmp_path: Path) -> None:
    """Tested on its own development set, a run has its own score, wherever its parent has gone."""
    alone = tmp_path / "alone" / place.mnli.id
    shutil.copytree(place.mnli.folder, alone)
    file = place.glue / "MNLI" / "dev_matched.tsv"
    found = evaluate_transfer(plan_transfer(Run(alone), "nli", file, tmp_path / "runs"))
    assert found.summary["scores"]["test"] == place.mnli.summary["scores"]["dev_matched"]
    assert place.mnli.damaged_files() == [] and found.damaged_files() == []
    encoder = load(place.parent)
    assert isinstance(encoder, Bert)
    tuned = load_finetuned(place.mnli).encoder.tokens.weight
    assert not torch.equal(tuned, encoder.tokens.weight), "the fine-tuned ones, not the parent's"


def test_snli_is_scored_by_the_words_of_its_labels_without_rows_that_have_none(place: Place, tmp_path: Path) -> None:
    text = labelled(tmp_path, "snli_1.0_test.txt", ROWS)
    first = evaluate_transfer(plan_transfer(place.mnli, "snli", text, place.runs))
    again = plan_transfer(place.mnli, "snli", labelled(tmp_path, "moved.jsonl", ROWS), place.runs)
    assert again.run.id == first.id and again.run.manifest, "the pairs count, not their file"
    info = first.info
    assert (info["kind"], info["parent"], info["finetune_seed"]) == ("evaluate", place.mnli.id, 0)
    assert (info["task"]["name"], info["data"]["without_label"], info["data"]["subset"]) == ("mnli to snli", 1, True)
    assert first.summary["examples"] == 12
    predicted = write_predictions_of(place, tmp_path, [(a, b) for a, b, _ in ROWS[:12]])
    right = sum(word == label for word, (_, _, label) in zip(predicted, ROWS, strict=False)) / 12
    assert first.summary["scores"]["test"] == {"accuracy": pytest.approx(right)} and right > 0


def write_predictions_of(place: Place, tmp_path: Path, texts: list[tuple[str, str]]) -> list[str]:
    """The words that the MNLI run answers pairs with, by way of GLUE's test files."""
    folder = mnli(tmp_path / "as-test")
    rows = [f"{i}\tp\tq\tg\t{a}\t{b}" for i, (a, b) in enumerate(texts)]
    lines = ["index\tpromptID\tpairID\tgenre\tsentence1\tsentence2", *rows]
    (folder / "MNLI" / "test_matched.tsv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "submission"
    written = write_predictions(plan_predictions([place.mnli], folder, out), out)
    assert [entry["file"] for entry in written.files] == ["MNLI-m.tsv", "MNLI-mm.tsv"]
    assert "CoLA.tsv" in written.missing and "AX.tsv" in written.missing and "MNLI-m.tsv" not in written.missing
    assert sorted(path.name for path in out.iterdir()) == ["MNLI-m.tsv", "MNLI-mm.tsv", "provenance.json"]
    with pytest.raises(BadInput, match="not empty"):
        plan_predictions([place.mnli], folder, out)
    return [line.split("\t")[1] for line in (out / "MNLI-m.tsv").read_text().splitlines()[1:]]


def test_labels_are_matched_by_their_words() -> None:
    learned = Task("other", "classification", ("neutral", "contradiction", "entailment"), ("accuracy",))
    given = [Example("a", "b", float(NLI.index(word))) for word in NLI]
    assert [learned.labels[int(example.label)] for example in _relabelled(given, learned)] == list(NLI)
    assert suits(learned, "snli") and not suits(replace(learned, labels=("entailment", "not_entailment")), "nli")


def test_what_cannot_be_tested_so_is_refused_before_anything_is_made(place: Place, tmp_path: Path) -> None:
    snli = labelled(tmp_path, "snli.txt", ROWS)
    (tmp_path / "G" / "RTE").mkdir(parents=True)
    rows = "".join(
        f"{i}\t{a}\t{b}\t{('entailment', 'not_entailment')[i % 2]}\n" for i, (a, b, _) in enumerate(ROWS * 3)
    )
    for split in ("train", "dev"):
        (tmp_path / "G" / "RTE" / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + rows)
    rte = place.tune(load_glue("rte", tmp_path / "G"), FinetuneSettings(**{**FEW, "epochs": 1}, keep_weights=True))
    before = [run.id for run in list_runs(place.runs)]
    for run, test, expected in (
        (rte, "snli", r"learned rte \(entailment, not_entailment\); snli tests a task with the labels entailment"),
        (place.mnli, "triviaqa", r"learned mnli .*; triviaqa tests questions"),
        (place.mnli, "snl", "no test 'snl' .*did you mean 'snli'"),
        (place.parent, "snli", "not a fine-tuned run"),
    ):
        with pytest.raises(BadInput, match=expected):
            plan_transfer(
                run,
                test,
                snli if test != "triviaqa" else squad_files.made_up(tmp_path / "q") / "dev-v1.1.json",
                place.runs,
            )
    with pytest.raises(BadInput, match="both learned mnli"):
        plan_predictions([place.mnli, place.mnli], place.glue, tmp_path / "out")
    assert [run.id for run in list_runs(place.runs)] == before


def test_a_run_finished_without_weights_is_never_written_again(place: Place, tmp_path: Path) -> None:
    data, settings = load_glue("mnli", place.glue), FinetuneSettings(**{**FEW, "epochs": 1})
    without = place.tune(data, settings)
    assert not (without.folder / "model.safetensors").exists() and not (without.folder / "tokenizer.json").exists()
    kept = settings.model_copy(update={"keep_weights": True})
    with pytest.raises(BadInput, match=rf"without keeping weights: {without.id} .*runs rm {without.id} removes"):
        plan_finetuning(place.parent, [data], [0, 1], kept, place.runs)
    with pytest.raises(
        BadInput, match=rf"keeps no weights \(actbench runs rm {without.id} removes it; fine-tune again"
    ):
        plan_transfer(without, "snli", labelled(tmp_path, "snli.txt", ROWS), place.runs)
    assert place.tune(data, FinetuneSettings(**FEW)).id == place.mnli.id, "with weights it is the same run"


@pytest.mark.parametrize(("name", "version"), [("squad", "1.1"), ("squad_v2", "2.0")])
def test_questions_are_scored_as_the_task_learned_scores_them(
    place: Place, tmp_path: Path, name: str, version: str
) -> None:
    folder = squad_files.made_up(tmp_path / "squad", version)
    settings = SquadSettings(train_size=16, epochs=2, batch_size=8, precision="fp32", keep_weights=True)
    tuned = place.tune(load_squad(name, folder), settings)
    other = squad_files.made_up(tmp_path / "other", "2.0", dev=30) / "dev-v2.0.json"
    found = evaluate_transfer(plan_transfer(tuned, "triviaqa", other, place.runs))
    predicted = json.loads((found.folder / "predictions.json").read_text())
    questions, _ = read_questions(other, training=False)
    score = score_v1 if name == "squad" else score_v2
    assert found.summary["scores"]["test"] == score(questions, predicted) and len(predicted) == 30
    assert (found.summary["headline"]["metric"], found.info["data"]["without_answer"]) == ("f1", 7)
    own = evaluate_transfer(plan_transfer(tuned, "squad", folder / f"dev-v{version}.json", place.runs))
    assert own.summary["scores"]["test"] == tuned.summary["scores"]["dev"], "with the threshold that it chose"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs GLUE's files in {REAL}")
def test_the_real_test_set_of_cola_is_answered(place: Place, tmp_path: Path) -> None:
    settings = FinetuneSettings(train_size=16, epochs=1, length=16, keep_weights=True)
    cola = place.tune(load_glue("cola", REAL), settings)
    write_predictions(plan_predictions([cola], REAL, tmp_path / "out"), tmp_path / "out")
    lines = (tmp_path / "out" / "CoLA.tsv").read_text().splitlines()
    assert len(lines) == 1064 and lines[0] == "index\tprediction"
    assert {line.split("\t")[1] for line in lines[1:]} <= {"0", "1"} and lines[-1].startswith("1062\t")


def test_through_the_commands(actbench: Any, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = labelled(tmp_path, "snli.txt", ROWS)
    eval_transfer.transfer([place.mnli.id], "snli", file, place.runs, as_json=True)
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["task"], result["without_label"], result["examples"]) == ("mnli to snli", 1, 12)
    eval_transfer.transfer([place.mnli.id], "snli", file, place.runs)
    assert "mnli to snli" in capsys.readouterr().out.splitlines()[2]
    words = ("eval", "predictions", place.mnli.id, "--data", place.glue, "-o", "out", "--runs", place.runs)
    done = actbench(*words, check=0)
    assert "the official test set has 9,796" in done.stdout and "A whole submission has also CoLA.tsv" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "MNLI-m.tsv",
        "MNLI-mm.tsv",
        "provenance.json",
    ]


def test_a_study_tests_what_it_fine_tunes(
    study_file: Any, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_recipe("bert", budget={"steps": 2})
    file, glue = labelled(tmp_path, "snli.txt", ROWS), mnli(tmp_path / "GLUE")
    axes = {"model.activation.name": ["gelu", "relu"]}
    tuning = {
        "finetune": "glue",
        "tasks": ["mnli"],
        "data": str(glue),
        "seeds": [0, 1],
        "settings": {**FEW, "epochs": 1},
    }
    tested = {**tuning, "transfer": [{"task": "snli", "data": str(file)}]}
    path = study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": [tuning, tested]}])
    said: list[str] = []
    outcome = carry_out(path, said=said)
    assert outcome.failed == {} and outcome.finished == 2 * (1 + 2 + 2), said
    graph = planned(path)
    transfers = [run for run in graph.finished() if run.info.get("task", {}).get("name") == "mnli to snli"]
    family = compare(graph.finished(), "gelu")
    (difference,) = [c.difference for c in family.transfer if c.difference]
    assert (len(transfers), difference.n, difference.dropped) == (4, 1, 0)
    relu = {c.variant.label: c for c in family.transfer}["relu"]
    assert set(relu.variant.runs) == {(0, 0), (0, 1)}, "paired by both seeds"
    assert "snli.txt: 1 rows without a label" in " ".join(transfer_table(family).notes)
    page = (outcome.report or Path()).with_suffix(".md").read_text()
    assert "mnli to snli" in page and "Transfer: paired difference" in page and "evaluate mnli to snli" in page
    assert carry_out(path).finished == outcome.finished and not graph.next_tasks(graph.nodes[0], retry=True)
    transfers[0].folder.rename(tmp_path / "gone")
    (task,) = [task for node in graph.nodes for task in graph.next_tasks(node, retry=False)]
    assert task.run_ids == (transfers[0].id,), "what is missing alone is done"
    weights = Run(graph.runs / transfers[0].info["parent"]).folder / "model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    assert len(graph.finished()) == outcome.finished - 1, "a test that was made is known without the weights"
    failed = carry_out(path).failed
    assert list(failed) == [transfers[0].id] and "are not here" in failed[transfers[0].id]
    weights.write_bytes(kept)
    assert carry_out(path).failed == failed, "only a retry tries again"
    assert carry_out(path, retry=True).failed == {}
    one_fails_and_others_go_on(path, graph, monkeypatch)


def test_two_follow_ups_test_one_fine_tuning(study_file: Any, tiny_recipe: Any, tmp_path: Path) -> None:
    """The second one's tests are made in the same call, though the first has tuned all there is to tune."""
    tiny_recipe("bert", budget={"steps": 2})
    tuning = {"finetune": "glue", "tasks": ["mnli"], "data": str(mnli(tmp_path / "GLUE")), "seeds": [0]}
    tests = ({"task": name, "data": str(labelled(tmp_path, f"{name}.txt", ROWS))} for name in ("snli", "nli"))
    follow_ups = [{**tuning, "settings": {**FEW, "epochs": 1}, "transfer": [test]} for test in tests]
    axes = {"model.activation.name": ["gelu"]}
    path = study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": follow_ups}])
    said: list[str] = []
    assert carry_out(path, said=said).finished == 1 + 1 + 2, said
    tasks = {str(run.info.get("task", {}).get("name")) for run in planned(path).finished()}
    assert tasks == {"None", "mnli", "mnli to snli", "mnli to nli"}


def one_fails_and_others_go_on(path: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fine-tuning with its two tests of transfer, of which the first cannot be made, once that is finished."""
    tuned = [run for run in graph.finished() if run.kind == "finetune"][:2]
    tests = [run for run in graph.finished() if run.info.get("parent") in {one.id for one in tuned}]
    for run in (*tuned, *tests):
        shutil.rmtree(run.folder)
    (task,) = [task for node in graph.nodes for task in graph.next_tasks(node, retry=False)]
    assert set(task.run_ids) == {run.id for run in tuned}, "the tests are not known yet"
    judge, calls = transfer._judge, iter([True, False])

    def broken(planned: TransferPlan, device: str) -> Verdict:
        if next(calls):
            raise ValueError("something new")
        return judge(planned, device)

    monkeypatch.setattr(transfer, "_judge", broken)
    said: list[str] = []
    outcome = carry_out(path, said=said)
    (failed,) = outcome.failed.items()
    assert failed == (tests[0].id, "something new")
    assert Run(tests[1].folder).manifest is not None, "the other one was made"
    assert any("2 runs finished; 1 of 2 transfers failed" in line for line in said), said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tasks": ["rte"]}, "transfer to snli needs mnli among its tasks"),
        ({"transfer": [{"task": "triviaqa", "data": "x.json"}]}, "transfer to triviaqa needs finetune: squad"),
        ({"transfer": [{"task": "snli", "data": "absent.txt"}]}, "no such file: absent.txt"),
    ],
)
def test_a_study_that_tests_what_it_cannot_is_refused(
    study_file: Any, tiny_recipe: Any, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    tiny_recipe("bert")
    follow_up = {"finetune": "glue", "tasks": ["mnli"], "seeds": [0], "transfer": [{"task": "snli", "data": "x.txt"}]}
    follow_ups = [{**follow_up, **change}]
    axes = {"model.activation.name": ["gelu"]}
    path = study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": follow_ups}])
    with pytest.raises(BadInput, match=expected):
        planned(path)
