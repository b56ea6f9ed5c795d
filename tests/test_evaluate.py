"""An evaluation is kept as a run: found again by its content, listed, and compared like any other."""

import json
import math

import fake_runs
import pytest
from studies import carry_out, planned

from actbench.analysis.comparisons import compare
from actbench.errors import BadInput
from actbench.evaluation.perplexity import evaluate
from actbench.evaluation.plan import EvaluationPlan, plan_perplexity
from actbench.store import Run, claim, list_runs
from actbench.store.index import records


@pytest.fixture
def trained(study_file, tiny_recipe, tmp_path):
    """A finished tiny GPT."""
    tiny_recipe("gpt")
    path = study_file(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0]}}])
    assert carry_out(path).finished == 1
    return planned(path).nodes[0].run


def test_a_text_is_measured_once(trained, corpus_file, tmp_path):
    runs = tmp_path / "runs"
    text = tmp_path / "text.jsonl"
    text.write_text("".join(corpus_file.read_text().splitlines(keepends=True)[:50]))
    first = evaluate(plan_perplexity(trained, [str(text)], runs), print)
    summary = first.summary
    assert summary["perplexity"] == pytest.approx(math.exp(summary["loss"]))
    assert summary["headline"] == {"metric": "perplexity", "value": summary["perplexity"]}
    words = sum(len(json.loads(line)["text"].split()) for line in text.read_text().splitlines())
    by_word = math.exp(summary["loss"] * summary["text_tokens"] / words)
    assert summary["word_perplexity"] == pytest.approx(by_word)
    assert summary["bits_per_byte"] > 0 and not first.damaged_files()
    written = (first.folder / "manifest.json").stat().st_mtime_ns
    text.rename(tmp_path / "moved.jsonl")
    again = plan_perplexity(trained, [str(tmp_path / "moved.jsonl")], runs)
    assert again.run.id == first.id, "the text counts, not where it lies"
    evaluate(again, print)
    assert (first.folder / "manifest.json").stat().st_mtime_ns == written
    text.write_text((tmp_path / "moved.jsonl").read_text() + json.dumps({"text": "a river"}) + "\n")
    assert plan_perplexity(trained, [str(text)], runs).run.id != first.id
    held_out = evaluate(plan_perplexity(trained, None, runs), print)
    assert held_out.id != first.id
    assert held_out.summary["loss"] == pytest.approx(trained.summary["validation_loss"], abs=0.1)
    found = {record.id: record for record in records(runs)[0]}
    assert found[first.id].value("metric") == "perplexity" and found[first.id].value("parent") == trained.id
    assert found[first.id].value("val_loss") is None, "a search by validation loss finds training runs alone"


def test_only_a_finished_pre_training_run_is_measured(trained, tmp_path):
    unfinished = fake_runs.pretrain(tmp_path / "runs", finished=False)
    with pytest.raises(BadInput, match="not finished"):
        plan_perplexity(unfinished, None, tmp_path / "runs")
    own = evaluate(plan_perplexity(trained, None, tmp_path / "runs"), print)
    with pytest.raises(BadInput, match="not a pre-training run"):
        plan_perplexity(own, None, tmp_path / "runs")


def test_a_text_too_short_leaves_nothing_behind(trained, tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("one stone")
    with pytest.raises(BadInput, match="shorter than one sequence"):
        evaluate(plan_perplexity(trained, [str(text)], tmp_path / "runs"), print)
    assert list_runs(tmp_path / "runs") == [trained]


def measured(parent: Run, text: str, loss: float) -> Run:
    """An evaluation of a fake run."""
    shared = {key: parent.info[key] for key in ("recipe", "model", "hardware", "environment")}
    plan = EvaluationPlan(parent, (text,), text, parent.folder.with_name(f"{parent.id}-{text}"))
    with claim(plan.folder) as writer:
        data = {"hash": plan.data_hash, "text": text}
        writer.describe({"kind": "evaluate", "parent": parent.id, **shared, "data": data})
        return writer.commit({"text": text, "loss": loss, "perplexity": math.exp(loss), "bits_per_byte": None})


def test_evaluations_are_compared_by_text_and_paired_by_seed(tmp_path):
    runs = []
    for activation, loss in (("gelu", 4.0), ("raf", 3.9)):
        for seed in range(3):
            runs.append(fake_runs.pretrain(tmp_path, activation, seed))
            runs += [measured(runs[-1], "a.txt", loss + seed / 100), measured(runs[-1], "b.txt", loss + seed)]
    family = compare(runs, "gelu")
    differences = {c.cohort.text: c.difference.mean for c in family.evaluation if c.difference}
    assert differences == {"a.txt": pytest.approx(-0.1), "b.txt": pytest.approx(-0.1)}
    assert len(family.pretraining) == 2 and family.finetuning == ()


def test_models_of_other_corpora_are_no_pair_on_one_text(tmp_path):
    runs = []
    for activation, corpus in (("gelu", "wiki"), ("raf", "books")):
        parent = fake_runs.pretrain(tmp_path, activation)
        parent.info["data"]["hash"] = corpus
        runs.append(measured(parent, "a.txt", 4.0))
    family = compare(runs, "gelu")
    assert len(family.evaluation) == 2 and not any(one.difference for one in family.evaluation)
