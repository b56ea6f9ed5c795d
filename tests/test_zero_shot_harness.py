"""actbench's decoders inside lm-evaluation-harness: on the same items both say the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import request_files as files
from conftest import write_recipe

from actbench.config import load_recipe
from actbench.data.blimp import load_blimp
from actbench.data.requests import RequestTask, load_requests
from actbench.data.tokenizer import END_OF_TEXT
from actbench.errors import BadInput
from actbench.evaluation.scoring import Scorer
from actbench.evaluation.zero_shot import score_items, zero_shot
from actbench.evaluation.zero_shot_metrics import results
from actbench.evaluation.zero_shot_plan import HarnessTask, find_tasks, plan_zero_shot
from actbench.store import Run, list_runs
from actbench.training.plan import plan
from actbench.training.pretrain import pretrain

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'actbench[eval]'")

CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{query}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{gold}}",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_bytes"}],
}
LAST_WORD = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{query}}",
    "doc_to_target": "{{' ' + word}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}
PAIR = {
    **CHOICE,
    "doc_to_text": "",
    "doc_to_choice": "{{[good, bad]}}",
    "doc_to_target": 0,
    "target_delimiter": "",
    "metric_list": [{"metric": "acc"}],
}


def harness_task(folder: Path, name: str, docs: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """A task of the harness over a local JSON file, loaded."""
    from lm_eval.tasks import TaskManager

    file = files.lines(folder / f"{name}.jsonl", docs)
    source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}, "test_split": "test"}
    more = {"dataset_kwargs": {**source["dataset_kwargs"], "cache_dir": str(folder / "cache")}}
    return TaskManager(include_defaults=False).load([{"task": name, **source, **more, **settings}])


def docs_of(task: RequestTask) -> list[dict[str, Any]]:
    """The same items as the harness' tasks above read them."""
    if task.kind == "pairs":
        return [{"good": item.requests[0].continuation, "bad": item.requests[1].continuation} for item in task.items]
    return [
        {
            "query": item.requests[0].context,
            "choices": [request.continuation[1:] for request in item.requests],
            "word": item.requests[0].continuation[1:],
            "gold": item.gold,
        }
        for item in task.items
    ]


@pytest.mark.parametrize(("name", "settings"), [("pick", CHOICE), ("lambada", LAST_WORD), ("blimp", PAIR)])
def test_both_say_the_same_of_every_item(
    decoder: Run,
    tmp_path: Path,
    name: str,
    settings: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    from lm_eval.evaluator import evaluate

    from actbench.evaluation.harness import ActbenchLM, run_loaded

    folder = files.choices(files.last_words(files.pairs(tmp_path / "eval")))
    task = load_blimp(folder, None) if name == "blimp" else load_requests(name, folder, None)
    scorer = Scorer(decoder, 5)
    own = score_items(task, scorer)
    found = results(task, own)
    loaded = harness_task(tmp_path, f"local_{name}", docs_of(task), settings)
    theirs = evaluate(ActbenchLM(scorer=scorer), loaded, bootstrap_iters=10)
    assert theirs is not None
    samples = sorted(theirs["samples"][f"local_{name}"], key=lambda sample: sample["doc_id"])
    assert len(samples) == len(task.items)
    for sample, scores in zip(samples, own, strict=True):
        assert [response[0] for response in sample["resps"]] == [(s.log_likelihood, s.greedy) for s in scores]
    values = theirs["results"][f"local_{name}"]
    if name == "blimp":  # one task of the harness: a mean over items, of which every paradigm has as many
        assert values["acc,none"] == pytest.approx(found["scores"]["acc"])
    else:
        for metric, value in found["scores"].items():
            assert values[f"{metric},none"] == value
            assert values[f"{metric}_stderr,none"] == pytest.approx(found["standard_errors"][metric], rel=1e-12)
    if name == "lambada":
        assert values["perplexity,none"] == pytest.approx(found["perplexity"], rel=1e-12)

    capfd.readouterr()
    summary, about, facts = run_loaded(f"local_{name}", loaded, scorer, 4)
    assert summary["items"] == 4 and facts["subset"] is True and about["headline"] == "acc"
    assert summary["headline"] == {"metric": "acc", "value": summary["scores"]["acc"]}
    assert "perplexity" not in summary["scores"] and ("perplexity" in summary) is (name == "lambada"), "no share"
    assert capfd.readouterr().out == "", "what the harness says is not among --json's output"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> Run:
    """A finished tiny decoder of LLaMA's shape, which transformers can load as well."""
    folder = tmp_path_factory.mktemp("llama")
    shape = {"layout": "llama", "activation": {"name": "swiglu"}, "tie_embeddings": False, "dropout": 0.0}
    recipe = write_recipe(folder, corpus_file, "gpt", model=shape, budget={"steps": 20}, optimizer={"lr": 1e-2})
    return pretrain(plan(load_recipe(recipe), folder / "runs", lambda _: None), resume=False, say=lambda _: None)


def as_hugging_faces(scorer: Scorer) -> Any:
    """The harness' own model of transformers with a scorer's weights and tokenizer."""
    from lm_eval.models.huggingface import HFLM
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    model = scorer.model
    n_heads, d_model = 2, model.head.decoder.in_features
    config = LlamaConfig(
        vocab_size=model.head.decoder.out_features, hidden_size=d_model, num_hidden_layers=len(model.layers),
        num_attention_heads=n_heads, intermediate_size=model.layers[0].feed_forward.up.out_features,
        max_position_embeddings=scorer.length, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    weights = {
        "model.embed_tokens.weight": model.tokens.weight,
        "model.norm.weight": model.final_norm.weight,
        "lm_head.weight": model.head.decoder.weight,
    }
    for number, layer in enumerate(model.layers):
        query, key, value = layer.attention.qkv.weight.chunk(3)
        own = {
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": layer.attention.output.weight,
            "mlp.gate_proj": layer.feed_forward.gate.weight,
            "mlp.up_proj": layer.feed_forward.up.weight,
            "mlp.down_proj": layer.feed_forward.down.weight,
            "input_layernorm": layer.attention_norm.weight,
            "post_attention_layernorm": layer.feed_forward_norm.weight,
        }
        weights |= {f"model.layers.{number}.{name}.weight": weight for name, weight in own.items()}
    theirs = LlamaForCausalLM(config)
    theirs.load_state_dict(weights)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=scorer.tokenizer, eos_token=END_OF_TEXT)
    return HFLM(theirs.eval(), tokenizer=tokenizer, max_length=scorer.length, batch_size=4, device="cpu")


@pytest.mark.parametrize(("name", "settings"), [("pick", CHOICE), ("lambada", LAST_WORD), ("blimp", PAIR)])
def test_the_harness_own_model_of_the_same_weights_says_the_same(
    llama: Run, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    """Nothing of actbench's scoring has a part in the other side: encoding, cutting and batching are the harness'."""
    from lm_eval.evaluator import evaluate

    folder = files.choices(files.last_words(files.pairs(tmp_path / "eval")), too_long=False)
    task = load_blimp(folder, None) if name == "blimp" else load_requests(name, folder, None)
    scorer = Scorer(llama, 5)
    own = score_items(task, scorer)
    loaded = harness_task(tmp_path, f"local_{name}", docs_of(task), settings)
    theirs = evaluate(as_hugging_faces(scorer), loaded, bootstrap_iters=10)
    assert theirs is not None
    samples = sorted(theirs["samples"][f"local_{name}"], key=lambda sample: sample["doc_id"])
    found = [response[0] for sample in samples for response in sample["resps"]]
    expected = [(s.log_likelihood, s.greedy) for scores in own for s in scores]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=1e-4)
    assert [bool(greedy) for _, greedy in found] == [greedy for _, greedy in expected]
    for metric, value in results(task, own)["scores"].items():
        if name != "blimp" or metric == "acc":
            assert theirs["results"][f"local_{name}"][f"{metric},none"] == pytest.approx(value)


def test_whole_texts_and_generation(decoder: Run) -> None:
    from lm_eval.api.instance import Instance

    from actbench.evaluation.harness import ActbenchLM

    lm = ActbenchLM(run=decoder.folder, batch_size=3)
    texts = ["The old river.", files.LONG]
    rolled = lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts])
    assert rolled == pytest.approx([score.log_likelihood for score in lm.scorer.score([("", t) for t in texts])])
    asked = Instance("generate_until", {}, ("The old river", {"until": [" "], "max_gen_toks": 6}), 0)
    assert lm.generate_until([asked]) == lm.scorer.generate(["The old river"], [" "], 6)
    with pytest.raises(BadInput, match="only greedy"):
        lm.generate_until([Instance("generate_until", {}, ("a", {"do_sample": True, "temperature": 1.0}), 0)])


def test_a_name_that_is_not_here_is_looked_up_in_the_harness(
    decoder: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml
    from lm_eval.tasks import TaskManager

    from actbench.evaluation import harness

    folder = tmp_path / "tasks"
    folder.mkdir()
    file = files.lines(tmp_path / "near.jsonl", docs_of(load_requests("pick", files.choices(tmp_path), None)))
    settings = {**CHOICE, "test_split": "test"}
    near = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(tmp_path)}}
    (folder / "near.yaml").write_text(yaml.safe_dump({"task": "near_by", **near, **settings}))
    (folder / "far.yaml").write_text(yaml.safe_dump({"task": "far_off", "dataset_path": "nobody/nothing", **settings}))
    (folder / "both.yaml").write_text(yaml.safe_dump({"group": "both", "task": ["near_by", "nearer"]}))
    (folder / "nearer.yaml").write_text(yaml.safe_dump({"task": "nearer", **near, **settings}))
    (folder / "sciq.yaml").write_text(yaml.safe_dump({"task": "sciq", "dataset_path": "nobody/nothing", **settings}))
    known = TaskManager(include_defaults=False, include_path=folder)
    monkeypatch.setattr(harness, "manager", lambda: known)
    with pytest.raises(BadInput, match="did you mean 'near_by'"):
        find_tasks(["near_bye"], None, None)
    with pytest.raises(BadInput, match="lm_eval ls tasks"):
        find_tasks(["quite_another"], None, None)
    asked = find_tasks(["near_by", "far_off"], tmp_path / "tasks", 3)
    assert all(isinstance(task, HarnessTask) and task.limit == 3 for task in asked)
    near_by, far_off = plan_zero_shot(decoder, asked, tmp_path / "runs")
    found = zero_shot([far_off, near_by], print)
    run = next(found)
    assert run.summary["task"] == "near_by", "one that fails stops no other"
    with pytest.raises(BadInput, match="far_off"):
        next(found)
    assert run.summary["items"] == 3 and run.info["data"]["subset"] is True and run.info["data"]["of"] == 12
    assert run.summary["standard_errors"]["acc"] == pytest.approx(standard_error_of(run.summary["scores"]["acc"], 3))
    with pytest.raises(BadInput, match=r"far_off: the task's data set cannot be had.*needs a network"):
        list(zero_shot([far_off], print))
    both, sciq = plan_zero_shot(decoder, find_tasks(["both", "sciq"], None, None), tmp_path / "runs")
    with pytest.raises(BadInput, match=r"both: a set of 2 tasks.*as in near_by,nearer"):
        list(zero_shot([both], print))
    with pytest.raises(BadInput, match=r"sciq: the task's data set.*--data DIR reads files"):  # the harness' own
        list(zero_shot([sciq], print))
    assert [found.id for found in list_runs(tmp_path / "runs")] == [run.id]


def standard_error_of(share: float, n: int) -> float:
    return math.sqrt(share * (1 - share) / (n - 1))
