"""Fine-tuning on SQuAD: it learns, repeats bit for bit, and leaves the official prediction file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from squad_files import made_up
from torch.nn import functional as F

from actbench.cli import finetune as command
from actbench.config import SquadSettings, load_recipe
from actbench.data.squad import load_squad
from actbench.data.tasks import Question
from actbench.errors import BadInput
from actbench.evaluation.load import recipe_of
from actbench.evaluation.squad import score_v1, score_v2
from actbench.nn.bert import BertSpans
from actbench.nn.build import build
from actbench.nn.heads import Spans
from actbench.nn.init import initialize_head
from actbench.store import Run
from actbench.study.estimate import _tokens
from actbench.study.follow_up_plans import plans_of
from actbench.study.follow_ups import SquadFollowUp
from actbench.training import finetune as training
from actbench.training import plan, pretrain
from actbench.training.finetune_plan import plan_finetuning

LEARN: dict[str, Any] = {"train_size": None, "epochs": 6, "lr": 5e-3, "patience": None}
FEW: dict[str, Any] = {"train_size": 16, "epochs": 2, "batch_size": 8, "precision": "fp32"}


def quiet(message: str) -> None:
    pass


@pytest.fixture
def parent(tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A tiny pre-trained BERT with learnable activations, which sees 32 tokens."""
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(tiny_recipe(model={"activation": {"name": "raf"}}, budget={"steps": 4}))
    return pretrain.pretrain(plan.plan(recipe, tmp_path / "runs", quiet), resume=False, say=quiet)


def run(parent: Run, folder: Path, name: str = "squad", runs: str = "runs", seed: int = 0, **changes: Any) -> Run:
    data = load_squad(name, folder)
    plans = plan_finetuning(parent, [data], [seed], SquadSettings(**{**FEW, **changes}), Path(runs))
    (finished,) = training.finetune(plans, quiet)
    assert finished.manifest is not None, finished.failure
    return finished


def predicted(finished: Run) -> dict[str, str]:
    found: dict[str, str] = json.loads((finished.folder / "predictions.json").read_text())
    return found


def test_the_scores_are_those_of_the_prediction_file(parent: Run, tmp_path: Path) -> None:
    folder = made_up(tmp_path / "data")
    finished = run(parent, folder)
    questions = load_squad("squad", folder).evaluation["dev"]
    assert predicted(finished).keys() == {question.id for question in questions}
    assert finished.summary["scores"] == {"dev": score_v1(questions, predicted(finished))}
    assert finished.summary["headline"] == {"metric": "f1", "value": finished.summary["scores"]["dev"]["f1"]}
    assert finished.summary["train_examples"] == 16
    assert finished.info["task"]["kind"] == "spans" and finished.info["data"]["subset"] is True
    assert "predictions.json" in (finished.manifest or {})["files"] and finished.damaged_files() == []
    slots = json.loads((finished.folder / "activations.json").read_text())["slots"]
    moved = {slot["name"]: slot["initial"] != slot["final"] for slot in slots if slot["initial"]}
    assert moved == {"layers.0": True, "layers.1": True}


def test_the_same_seed_gives_the_same_score_to_the_last_bit(parent: Run, tmp_path: Path) -> None:
    folder = made_up(tmp_path / "data")
    one, two, other = run(parent, folder), run(parent, folder, runs="again"), run(parent, folder, seed=1)
    assert one.id == two.id and predicted(one) == predicted(two)
    assert {**one.summary, "seconds": 0} == {**two.summary, "seconds": 0}
    assert one.metrics() == two.metrics()
    learned = [(each.folder / "activations.json").read_bytes() for each in (one, two, other)]
    assert learned[0] == learned[1] != learned[2]


def test_it_learns_to_point(parent: Run, tmp_path: Path) -> None:
    folder = made_up(tmp_path / "data", train=80)
    finished = run(parent, folder, **LEARN)
    scores = finished.summary["scores"]["dev"]
    assert scores["f1"] > 0.7 and scores["exact_match"] > 0.7
    losses = [row["loss"] for row in finished.metrics() if row["kind"] == "epoch"]
    assert losses[-1] < losses[0] / 3


def test_where_there_is_no_answer_it_learns_to_give_none(parent: Run, tmp_path: Path) -> None:
    """The threshold is the selection set's: the test set is scored with it, and never asked for its own."""
    folder = made_up(tmp_path / "data", "2.0", train=80)
    finished = run(parent, folder, "squad_v2", **LEARN)
    scores, questions = finished.summary["scores"]["dev"], load_squad("squad_v2", folder).evaluation["dev"]
    assert scores == score_v2(questions, predicted(finished))
    assert scores["no_answer_f1"] > 0.7 and scores["has_answer_f1"] > 0.7
    assert isinstance(finished.summary["null_threshold"], float)


def test_the_threshold_is_never_chosen_on_the_test_set(
    parent: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def choose(questions: Any, found: Any) -> float:
        asked.append(len(questions))
        return float(len(asked))

    monkeypatch.setattr("actbench.evaluation.squad.choose_threshold", choose)
    finished = run(parent, made_up(tmp_path / "data", "2.0"), "squad_v2")
    assert asked == [15, 15], "once an epoch, and only for the selection set"
    assert finished.summary["null_threshold"] == finished.summary["best_epoch"]


def test_epochs_are_rafts_unless_told() -> None:
    assert SquadSettings().epochs == 10 and SquadSettings(train_size=100).epochs == 20
    assert SquadSettings(train_size=100, epochs=3).epochs == 3
    assert (SquadSettings().lr, SquadSettings().activation_lr) == (1e-4, 5e-4)


def test_spans_of_a_padded_batch_are_those_of_each_text_alone(tiny_recipe: Any) -> None:
    recipe = load_recipe(tiny_recipe())
    encoder = build(recipe.model, 50, 16, seed=0)
    heads = [Spans(32) for _ in range(3)]
    for head, seed in zip(heads, (0, 0, 1), strict=True):
        initialize_head(head, recipe.model, seed)
    assert torch.equal(heads[0].dense.weight, heads[1].dense.weight)
    assert not torch.equal(heads[0].dense.weight, heads[2].dense.weight) and not heads[0].dense.bias.any()
    model = BertSpans(encoder, heads[0]).eval()
    tokens = torch.arange(20).view(2, 10)
    segments, attention = torch.zeros_like(tokens), torch.ones(2, 10, dtype=torch.bool)
    attention[1, 6:] = False
    together = model(tokens, segments, attention)
    alone = model(tokens[1:, :6], segments[1:, :6], attention[1:, :6])
    assert together.shape == (2, 10, 2)
    assert torch.allclose(together[1, :6], alone[0], atol=1e-5)
    assert (together[1, 6:] == float("-inf")).all(), "padding is no answer"
    loss = F.cross_entropy(together, torch.tensor([[1, 2], [0, 3]]))
    parts = [F.cross_entropy(together[:, :, k], torch.tensor(x)) for k, x in enumerate(([1, 0], [2, 3]))]
    assert torch.allclose(loss, sum(parts) / 2)
    loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_through_the_command(actbench: Any, parent: Run, tmp_path: Path) -> None:
    words = ("finetune", "squad", "--from", parent.id, "--data", made_up(tmp_path / "data"), "--train-size", 16)
    shown = actbench(*words, "--set", "epochs=1", "--seeds", "0-1", check=0).stdout
    assert [line.split()[:2] for line in shown.splitlines()[2:]] == [["squad", "f1"], ["squad", "exact_match"]]
    made = sorted(path.name for path in (tmp_path / "runs").glob("*-squad-16-s*"))
    assert len(made) == 2 and all(Run(tmp_path / "runs" / name).manifest for name in made)


def test_a_study_makes_the_same_runs(parent: Run, tmp_path: Path) -> None:
    folder = made_up(tmp_path / "data", "2.0")
    follow_up = SquadFollowUp(finetune="squad_v2", seeds=(0, 1), data=str(folder), settings=SquadSettings(**FEW))
    n_runs = follow_up.n_runs(recipe_of(parent))
    assert (follow_up.title, follow_up.task_names, n_runs) == ("finetune squad_v2", ["squad_v2"], 2)
    planned = plans_of(parent, follow_up, Path("runs"))
    made = plan_finetuning(parent, [load_squad("squad_v2", folder)], [0, 1], SquadSettings(**FEW), Path("runs"))
    assert [plan.folder for plan in planned] == [plan.folder for plan in made]
    with pytest.raises(BadInput, match="at most 45"):
        plans_of(parent, follow_up.model_copy(update={"settings": SquadSettings(train_size=46)}), Path("runs"))


@pytest.mark.parametrize(("words", "longest", "expected"), [(20, 128, 36), (200, 128, 512), (200, 384, 306)])
def test_a_study_counts_the_tokens_of_all_windows(words: int, longest: int, expected: int) -> None:
    question = Question("q", "is it", "it " * words, ())
    assert _tokens(question, SquadSettings(), longest) == expected


def test_bad_input_is_named_and_nothing_is_made(parent: Run, tmp_path: Path) -> None:
    folder = made_up(tmp_path / "data")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"train_size": "46"}, "at most 45"),
        ({"train_size": "few"}, "--train-size: 'few' is not a number of examples (a number, or all)"),
        ({"train_size": "0"}, "--train-size: train_size: "),
        ({"version": "2.1"}, "--version: no SQuAD 2.1 (did you mean '2.0'?)"),
        ({"version": "2.0"}, "no train-v2.0.json here"),
        ({"settings": ["docstride=64"]}, "did you mean 'doc_stride'?"),
    ]
    for arguments, expected in cases:
        with pytest.raises(BadInput) as caught:
            command.squad(parent.id, **{"data": str(folder), "train_size": "all", **arguments})
        assert expected in str(caught.value)
    assert not list((tmp_path / "runs").glob("*squad*"))
