"""A published BERT becomes a finished run: the same numbers as Hugging Face's, swapped activations, honest records."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LENGTH, WORDS, model_of, reference, save, take
from hub_stand_in import COMMIT, HubStandIn, client_environment
from safetensors.torch import load_file
from studies import carry_out, planned

from actbench.activations import create
from actbench.analysis.compare import compare
from actbench.config import load_recipe
from actbench.config.placement import placement
from actbench.errors import BadInput
from actbench.store import Run, find_run
from actbench.store.index import records
from actbench.study.estimate import estimate
from actbench.study.status import status
from actbench.training.import_model import TOLERANCE
from actbench.training.known_model import LIKE_GELU, LIKE_TANH, known_recipe, plan_import

CLOSE = {"rtol": 0.0, "atol": 1e-5}
RAF = "model.activation.name=raf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(reference(), tmp_path_factory.mktemp("hub") / "Tiny-BERT")


@pytest.mark.parametrize(
    "changes", [{}, {"hidden_act": "gelu_new"}, {"hidden_act": "gelu_pytorch_tanh"}, {"layer_norm_eps": 1e-5}]
)
@torch.no_grad()
def test_hidden_states_logits_and_pooler_equal_hugging_faces(tmp_path: Path, changes: dict[str, Any]) -> None:
    theirs = reference(**changes)
    ours = model_of(take(save(theirs, tmp_path / "model")))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(len(WORDS), (3, LENGTH), generator=generator)
    segments = (torch.arange(LENGTH) >= 20).long().expand_as(tokens)
    real = torch.arange(LENGTH) < torch.tensor([[LENGTH], [31], [2]])
    inputs = {"attention_mask": real.long(), "token_type_ids": segments}
    expected = theirs(tokens, **inputs, output_hidden_states=True)
    hidden = ours.encode(tokens, segments, real)
    torch.testing.assert_close(hidden[real], expected.hidden_states[-1][real], **CLOSE)
    torch.testing.assert_close(ours.head.logits(hidden)[real], expected.prediction_logits[real], **CLOSE)
    torch.testing.assert_close(ours.pooler(hidden), theirs.bert(tokens, **inputs).pooler_output, **CLOSE)
    torch.testing.assert_close(ours.logits(tokens), theirs(tokens).prediction_logits, **CLOSE)


def test_older_files_give_the_same_weights(folder: Path, tmp_path: Path) -> None:
    """pytorch_model.bin, norms called gamma and beta, an encoder without a prefix and without a head."""
    new = take(folder)
    old = save(reference(), tmp_path / "old")
    weights = {name: tensor.clone() for name, tensor in load_file(old / "model.safetensors").items()}
    (old / "model.safetensors").unlink()
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    torch.save(renamed, old / "pytorch_model.bin")
    found = load_file(take(old).folder / "model.safetensors")
    expected = load_file(new.folder / "model.safetensors")
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)

    bare = {name.removeprefix("bert."): tensor for name, tensor in weights.items() if name.startswith("bert.encoder")}
    bare |= {name.removeprefix("bert."): tensor for name, tensor in weights.items() if name.startswith("bert.embed")}
    torch.save(bare, old / "pytorch_model.bin")
    said: list[str] = []
    run = take(old, "name=bare", said=said)
    assert run.info["origin"]["new"] == ["head", "pooler"] and "no head and no pooler" in said[0]
    found = load_file(run.folder / "model.safetensors")
    same = {name for name in expected if torch.equal(found[name], expected[name])}
    assert {name for name in expected if name.startswith(("layers.", "tokens.", "positions.", "norm."))} <= same
    assert "pooler.dense.weight" not in same


class _Harmful:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('code in a checkpoint was run')",)


def test_a_pickle_with_code_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    source = save(reference(), tmp_path / "model")
    (source / "model.safetensors").unlink()
    (source / "pytorch_model.bin").write_bytes(pickle.dumps({"bert.x": _Harmful()}))
    with pytest.raises(BadInput, match="do not load as tensors alone"):
        take(source)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "xlm-roberta"}, "model_type: 'xlm-roberta' is not supported (supported: 'bert' or 'roberta')"),
        ({"model_type": None}, "model_type: None is not supported"),
        ({"hidden_act": "relu"}, "hidden_act: 'relu' is not supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type: 'relative_key' is not supported"),
        ({"is_decoder": True, "add_cross_attention": True}, "add_cross_attention: True is not supported"),
        ({"type_vocab_size": 4}, "type_vocab_size: 4 is not supported"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"attention_probs_dropout_prob": 0.2}, "attention_probs_dropout_prob 0.2"),
        ({"layer_norm_eps": None}, "layer_norm_eps: expected a number, not None"),
        ({"hidden_size": "32"}, "hidden_size: expected a positive number, not '32'"),
        ({"num_hidden_layers": 3}, "layers.2.attention.output.bias is missing"),
        ({"intermediate_size": 96}, "has shape (32, 64), config.json makes it (32, 96)"),
        ({"vocab_size": 20}, f"has {len(WORDS)} tokens, and the model embeds 20"),
    ],
)
def test_what_our_model_cannot_be_is_refused_by_name(tmp_path: Path, config: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        take(save(reference(), tmp_path / "model", **config))
    assert expected in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("model.activation.name=swiglu", "'swiglu' is gated"),
        ("model.activation.name=raff", "did you mean 'raf'?"),
        ("model.d_model=64", "model.d_model: the checkpoint has 32, not 64"),
        ("budget.steps=10", "a model that came ready has no budget"),
        ("corpus.source=builtin", "corpus.source: a model that came ready is not trained on a text"),
        ("model=3", "model: "),
        ("corpus=3", "corpus: "),
        ("tokenizer.file=null", "tokenizer.file: the checkpoint has tokenizer.json, not None"),
        ("seed=1", "seed: a model that came ready is the same for every seed"),
        ("optimizer.lr=1e-4", "optimizer.lr: a model that came ready is not trained"),
        ("optimizer.activation.frozen=true", "optimizer.activation: a model that came ready is not trained"),
        ("schedule.kind=cosine", "schedule.kind: a model that came ready is not trained"),
        ("validation.sequences=8", "validation.sequences: a model that came ready is not trained"),
        ("batch.length=64", f"positions for {LENGTH} tokens"),
    ],
)
def test_what_a_swap_cannot_change(folder: Path, change: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        take(folder, change)
    assert expected in str(caught.value)


def test_a_checkpoint_is_no_text_to_train_a_model_on(folder: Path, tiny_recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not trained on a text"):
        take(folder, "corpus.source=builtin", "budget.steps=5")
    corpus = ["corpus.source=checkpoint", f"corpus.checkpoint={folder}"]
    gpt = load_recipe(tiny_recipe("gpt"), [*corpus, *(f"budget.{key}=null" for key in ("steps", "tokens", "minutes"))])
    with pytest.raises(BadInput, match="the checkpoint is a bert, not a gpt"):
        plan_import(gpt, tmp_path / "runs")


def test_seeds_of_a_study_make_no_independent_models_of_one(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    axes = "{model.activation.name: [gelu], seed: [0, 1]}"
    file.write_text(f"name: s\ntitle: S\nexperiments:\n  - recipe: hf:{folder}\n    axes: {axes}\n")
    with pytest.raises(BadInput, match="the same for every seed"):
        planned(file)


def test_a_raf_is_fitted_to_what_it_takes_the_place_of(folder: Path) -> None:
    said = ["{layers: 0, name: raf}", "{slot: layers.1, name: raf, init: gelu}", "{slot: pooler, name: raf}"]
    recipe = known_recipe(str(folder), [f"model.activation_overrides=[{', '.join(said)}]"])
    inner, told, pooler = (spec.options for spec in placement(recipe.model).values())
    assert (inner, told, pooler) == (LIKE_GELU, {"init": "gelu"}, LIKE_TANH)
    x = torch.linspace(-10, 10, 2001)
    error = (create("raf", **pooler)(x) - x.tanh()).abs()
    assert error[x.abs() <= 8].max() < 0.0004 and error.max() < 0.008


def test_an_untied_head_is_refused(tmp_path: Path) -> None:
    source = save(reference(), tmp_path / "model")
    weights = load_file(source / "model.safetensors")
    torch.save({**weights, "cls.predictions.decoder.weight": weights["cls.predictions.bias"]}, source / "x.bin")
    (source / "model.safetensors").unlink()
    (source / "x.bin").rename(source / "pytorch_model.bin")
    with pytest.raises(BadInput, match="decoder has weights of its own"):
        take(source)


def test_a_fitted_raf_hardly_moves_the_logits(folder: Path) -> None:
    """The tolerance is stated in docs/known-models.md; what is recorded is what the models say."""
    run, own = take(folder, RAF), model_of(take(folder))
    swap = run.summary["swap"]
    assert 0 < swap["relative"] < TOLERANCE == 0.02 and swap["same_top"] > 0.95
    activation = run.info["recipe"]["model"]["activation"]
    assert activation == {"name": "raf", "range": [-6.0, 6.0]}  # init gelu is its default
    x = torch.linspace(-10, 10, 2001)
    error = (create("raf", **LIKE_GELU)(x) - torch.nn.functional.gelu(x)).abs()
    assert error[x.abs() <= 6].max() < 0.0035 and error.max() < 0.05
    tokens = torch.randint(len(WORDS), (4, LENGTH), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = own.logits(tokens), model_of(run).logits(tokens)
    moved = ((after - before).square().mean() / before.var(-1).mean()).sqrt().item()
    assert 0 < moved < TOLERANCE


def test_where_inputs_are_large_the_fit_is_nearer_than_the_published_start(tmp_path: Path) -> None:
    """As a trained BERT's are; told where to start, a RAF starts there."""
    wide = reference()
    with torch.no_grad():
        for layer in wide.bert.encoder.layer:
            layer.intermediate.dense.weight.mul_(4)
    source = save(wide, tmp_path / "model")
    ours, published = take(source, RAF), take(source, RAF, "model.activation.init=gelu")
    assert published.info["recipe"]["model"]["activation"] == {"name": "raf"}  # at its defaults
    assert published.summary["swap"]["relative"] > 3 * ours.summary["swap"]["relative"]


def test_another_function_is_allowed_and_warned_of(folder: Path) -> None:
    said: list[str] = []
    run = take(folder, "model.activation.name=poly_norm", said=said)
    assert run.summary["swap"]["relative"] > TOLERANCE
    assert f"changes the logits by {run.summary['swap']['relative']:.2%} of their spread" in said[0]
    assert "warning" in said[0] and "not the function that the model was trained with" in said[0]


def test_the_record_tells_where_it_came_from_and_nothing_it_does_not_know(folder: Path) -> None:
    run = take(folder)
    origin = run.info["origin"]
    assert origin["from"] == f"hf:{folder}" and origin["licence"] == "apache-2.0" and origin["commit"] is None
    assert set(origin["sha256"]) == {"config.json", "model.safetensors", "vocab.txt"}
    assert run.kind == "pretrain" and run.imported and run.damaged_files() == []
    assert set(run.summary) == {"parameters", "swap"} and run.summary["swap"] is None
    assert run.info["recipe"]["budget"] == {"steps": None, "tokens": None, "minutes": None}


def test_the_files_content_decides_which_run_it_is(tmp_path: Path) -> None:
    one, same, other = (save(reference(seed), tmp_path / f"at{i}" / "model") for i, seed in enumerate((0, 0, 1)))
    runs = [plan_import(known_recipe(str(path)), tmp_path / "runs").folder for path in (one, same, other)]
    assert runs[0] == runs[1] != runs[2]


def test_it_is_fine_tuned_measured_listed_and_drawn(actbench: Any, folder: Path, tmp_path: Path) -> None:
    tune = ("finetune", "probes", "--from", f"hf:{folder}", "--activation", "raf", "--tasks", "probe_swap")
    done = actbench(*tune, "--train-size", 20, "--set", "epochs=2", "--set", "activation_lr=1e-2", "--json", check=0)
    assert "the swap changes the logits by 0." in done.stderr
    tuned = Run(tmp_path / "runs" / json.loads(done.stdout)["results"][0]["run"])
    first, *_ = json.loads((tuned.folder / "activations.json").read_text())["slots"]
    assert first["activation"]["name"] == "raf" and first["initial"] != first["final"]
    parent = tuned.info["parent"]
    assert find_run(parent, tmp_path / "runs").imported
    actbench(*tune, "--train-size", 20, "--set", "epochs=2", "--set", "activation_lr=1e-2", check=0)
    assert len(list((tmp_path / "runs").glob("*probe_swap*"))) == 1, "nothing is trained twice"
    plain = json.loads(actbench("runs", "import-hf", folder, "--json", check=0).stdout)["run"]
    compared = compare(*(find_run(name, tmp_path / "runs") for name in (plain, parent)))
    assert compared.pair and "model.activation.name" in [one.key for one in compared.recipe]
    listed, damaged = records(tmp_path / "runs")
    assert {(one.id, one.value("kind"), one.value("loss")) for one in listed} >= {(parent, "pretrain", None)}
    assert damaged == {} and parent in actbench("runs", "show", parent, "--verify", check=0).stdout
    text = tmp_path / "text.txt"
    text.write_text("the house of the wind is in the river and the stone " * 60)
    assert "--corpus" in actbench("eval", "perplexity", parent, check=2).stderr
    losses = [
        row["loss"]
        for row in json.loads(actbench("eval", "perplexity", plain, parent, "--corpus", text, "--json").stdout)[
            "results"
        ]
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    actbench("plot", "activations", parent, "-o", "a.svg", check=0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--train-size", 1_000_000), "too few for 1000000 to learn from"),
        (("--tune", "activation"), "gelu has none"),
        (("--protocol", "official", "--grid", "lr=1e-4,1e-3"), "chosen on the set that is reported on"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_taken_in(
    actbench: Any, folder: Path, tmp_path: Path, words: tuple[Any, ...], expected: str
) -> None:
    done = actbench("finetune", "probes", "--from", f"hf:{folder}", "--tasks", "probe_swap", *words, check=2)
    assert expected in done.stderr and not (tmp_path / "runs").exists()


def test_a_study_of_a_known_model(folder: Path, tmp_path: Path) -> None:
    text = f"""
name: known
title: A known model
experiments:
  - recipe: hf:{folder}
    axes: {{model.activation.name: [gelu, raf]}}
    follow_ups:
      - {{finetune: probes, tasks: [probe_swap], seeds: [0], settings: {{train_size: 20, epochs: 1}}}}
"""
    file = tmp_path / "study.yaml"
    file.write_text(text)
    before = estimate(planned(file))
    assert before.tokens == 0 and before.runs == 4
    outcome = carry_out(file)
    assert outcome.failed == {} and outcome.finished == 4
    report = (tmp_path / "runs" / "known" / "report.md").read_text()
    assert "which came ready" in report and "swapped for raf" in report and "trained on" not in report.split("##")[0]
    graph = planned(file)
    assert [line.state for line in status(graph)] == ["finished"] * 4
    assert estimate(graph).seconds == 0
    file.write_text(text + "      - {eval: perplexity}\n")
    with pytest.raises(BadInput, match=r"follow_ups\.\d+: .*give it a corpus"):
        planned(file)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/nothing", "the hub cannot be reached: offline"),
        ("./nowhere", "no such folder"),
        ("a/b/c", "no such folder"),
    ],
)
def test_what_cannot_be_found_is_one_error(actbench: Any, tmp_path: Path, source: str, expected: str) -> None:
    done = actbench("finetune", "probes", "--from", f"hf:{source}", check=2)
    assert done.stderr.startswith(f"error: {source}: {expected}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_runs_activation_is_not_swapped(actbench: Any) -> None:
    done = actbench("finetune", "probes", "--from", "bert-nano", "--activation", "raf", check=2)
    assert "only a model that came ready" in done.stderr


def test_a_model_of_the_hub_is_downloaded_once_at_its_commit(folder: Path, tmp_path: Path) -> None:
    ask = (
        "import json, sys\n"
        "from actbench.data.checkpoints import open_checkpoint\n"
        "from actbench.errors import BadInput\n"
        "for reference in sys.argv[1:]:\n"
        "    try:\n"
        "        print(json.dumps(open_checkpoint(reference).facts()))\n"
        "    except BadInput as error:\n"
        "        print(json.dumps(str(error)))\n"
    )

    def answers(environment: dict[str, str], *references: str) -> list[Any]:
        command = [sys.executable, "-c", ask, *references]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"pytorch_model.bin": b"not wanted"}
    with HubStandIn(files, kind="models") as hub:
        found, unknown, no_such = answers(hub.environment(tmp_path), "org/name", "org/other", "org/name@v9")
        assert not [request for request in hub.requests if "pytorch_model" in request]
    assert found["from"] == f"hf:org/name@{COMMIT}" and found["commit"] == COMMIT
    assert found["licence"] == "apache-2.0" and "model.safetensors" in found["sha256"]
    assert "org/other: not found on the hub" in unknown and "no revision 'v9'" in no_such
    offline = client_environment("http://127.0.0.1:9", tmp_path) | {"HF_HUB_OFFLINE": "1"}
    assert answers(offline, "org/name", f"org/name@{COMMIT}") == [found, found]
