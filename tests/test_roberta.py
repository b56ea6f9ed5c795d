"""A published RoBERTa becomes a finished run too: the library's own numbers and inputs, and the same honest records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import squad_files
import torch
from checkpoints import LENGTH, MERGES, PAD, PIECES, WORDS, model_of, reference_tokenizer, roberta, save_roberta, take
from hub_stand_in import HubStandIn

from actbench.data.encoding import encode
from actbench.data.packing import pack_texts
from actbench.data.tasks import Answer, Example, Question
from actbench.data.windows import windows_of
from actbench.errors import BadInput
from actbench.store import Run
from actbench.training import import_model as importing
from actbench.training.import_model import TOLERANCE
from actbench.training.known_model import known_recipe, plan_import

CLOSE = {"rtol": 0.0, "atol": 1e-5}
PAIRS = [
    ("The other house, in  the wind.", "He hears nothing there - na\u00efve caf\u00e9?"),
    (" A text that begins after a space", None),
    ("Short.", "A much longer second text that has to be cut, since there are not so many places here for it." * 2),
    ("A much longer first text that has to be cut, since there are not so many places here for it." * 2, "Short."),
    ("The <mask> is one token </s>", "and <|endoftext|> is none."),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_roberta(roberta(), tmp_path_factory.mktemp("hub") / "Tiny-RoBERTa")


@pytest.fixture(scope="module", params=[True, False], ids=["tokenizer.json", "vocab.json"])
def tokenizer_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer that a run keeps of a checkpoint."""
    source = save_roberta(roberta(), tmp_path_factory.mktemp("hub") / "model", one_file=request.param)
    return take(source).folder / "tokenizer.json"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu_new"},
        {"pad_token_id": 4, "layer_norm_eps": 1e-3},
        {"type_vocab_size": 2},
    ],
)
@torch.no_grad()
def test_hidden_states_and_logits_equal_hugging_faces(tmp_path: Path, changes: dict[str, Any]) -> None:
    theirs = roberta(**changes)
    run = take(save_roberta(theirs, tmp_path / "model"))
    ours, pad = model_of(run), theirs.config.pad_token_id
    tokens = torch.randint(5, len(PIECES), (3, LENGTH), generator=torch.Generator().manual_seed(1))
    real = torch.arange(LENGTH) < torch.tensor([[LENGTH], [31], [2]])
    tokens = tokens.where(real, pad)
    expected = theirs(tokens, attention_mask=real.long(), output_hidden_states=True)
    hidden = ours.encode(tokens, torch.zeros_like(tokens), real)
    torch.testing.assert_close(hidden[real], expected.hidden_states[-1][real], **CLOSE)
    torch.testing.assert_close(ours.head.logits(hidden)[real], expected.logits[real], **CLOSE)
    torch.testing.assert_close(ours.logits(tokens[:1]), theirs(tokens[:1]).logits, **CLOSE)
    assert run.info["recipe"]["batch"]["length"] == ours.positions.num_embeddings == LENGTH


@torch.no_grad()
def test_a_pooler_is_taken_where_there_is_one_and_is_new_otherwise(tmp_path: Path, folder: Path) -> None:
    theirs, said = roberta(kind="RobertaModel"), list[str]()
    bare = take(save_roberta(theirs, tmp_path / "model"), said=said)
    assert bare.info["origin"]["new"] == ["head"] and "has no head: initialised anew" in said[0]
    tokens = torch.randint(5, len(PIECES), (3, LENGTH), generator=torch.Generator().manual_seed(1))
    ours = model_of(bare)
    torch.testing.assert_close(ours.pooler(ours.encode(tokens)), theirs(tokens).pooler_output, **CLOSE)
    masked = take(folder, said=said)
    assert masked.info["origin"]["new"] == ["pooler"] and "has no pooler: initialised anew" in said[1]
    again = model_of(take(folder, "name=again"))
    assert torch.equal(model_of(masked).pooler.dense.weight, again.pooler.dense.weight)


def test_a_fitted_raf_hardly_moves_the_logits(folder: Path) -> None:
    run, own = take(folder, "model.activation.name=raf"), model_of(take(folder))
    assert 0 < run.summary["swap"]["relative"] < TOLERANCE
    tokens = torch.randint(len(PIECES), (4, LENGTH), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = own.logits(tokens), model_of(run).logits(tokens)
    assert 0 < ((after - before).square().mean() / before.var(-1).mean()).sqrt().item() < TOLERANCE


@pytest.mark.parametrize("length", [16, 40])
def test_texts_and_pairs_are_encoded_as_the_library_does(tokenizer_file: Path, length: int) -> None:
    reference = reference_tokenizer()
    encoded = encode(tokenizer_file, [Example(a, b, 0.0) for a, b in PAIRS], length)
    for i, (a, b) in enumerate(PAIRS):
        expected = reference(a, b, truncation="longest_first", max_length=length)["input_ids"]
        assert encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]].tolist() == expected
    assert not encoded.segments.any() and encoded.pad == PAD


def test_a_window_is_a_pair_and_an_answer_begins_after_its_space(tokenizer_file: Path) -> None:
    question = Question("q", "Which is there?", "The other house, in the wind.", (Answer("house", 10),))
    windows = windows_of(tokenizer_file, [question], 64, 64, 128)
    assert windows.tokens.tolist() == reference_tokenizer()(question.text, question.context)["input_ids"]
    assert not windows.segments.any() and windows.pad == PAD
    first, last = windows.labels[0].astype(int) - windows.texts[0]
    begin, end = windows.characters[0][first, 0], windows.characters[0][last, 1]
    assert question.context[begin:end] == "house"


def test_a_window_with_two_tokens_between_is_no_longer_than_it_may_be(tokenizer_file: Path) -> None:
    question = Question("q", "b c d f g k", "x y z " * 30, ())
    windows = windows_of(tokenizer_file, [question], 17, 64, 128)
    assert set(windows.lengths[:-1]) == {17} and windows.lengths[-1] <= 17
    assert windows.texts.tolist() == [9] * len(windows), "<s>, 6 of the question, and two </s>"


def test_between_documents_stands_nothing(tokenizer_file: Path) -> None:
    texts = ["the house", "a wind"]
    expected = [token for text in texts for token in reference_tokenizer()(text, add_special_tokens=False)["input_ids"]]
    assert pack_texts(tokenizer_file, texts, ends=False).tolist() == expected


def test_nor_where_a_swap_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut, packed = importing.cut, list[Any]()
    monkeypatch.setattr(importing, "cut", lambda *given: packed.append(given[-1]) or cut(*given))
    take(save_roberta(roberta(), tmp_path / "model"))
    assert len(packed[0]) and PIECES.index("<|endoftext|>") not in packed[0]


def test_merges_decide_which_run_it_is(tmp_path: Path) -> None:
    one, other = (save_roberta(roberta(), tmp_path / at / "model", one_file=False) for at in ("one", "other"))
    (other / "merges.txt").write_text("\n".join(MERGES[:-1]))
    plans = [plan_import(known_recipe(str(path)), tmp_path / "runs") for path in (one, other)]
    assert set(plans[0].origin["sha256"]) == {"config.json", "model.safetensors", "vocab.json", "merges.txt"}
    assert plans[0].folder != plans[1].folder


def test_a_vocab_json_begins_a_text_as_tokenizer_config_says(tmp_path: Path) -> None:
    source = save_roberta(roberta(), tmp_path / "model", one_file=False)
    (source / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": True}))
    encoded = encode(take(source).folder / "tokenizer.json", [Example("the", None, 0.0)], 16)
    assert encoded.tokens.tolist() == [0, PIECES.index("\u0120the"), 2]


def test_it_is_fine_tuned_and_measured(actbench: Any, folder: Path, tmp_path: Path) -> None:
    tune = ("--from", f"hf:{folder}", "--activation", "raf", "--set", "epochs=1", "--json")
    rows = "".join(f"{i}\tthe house\tthe wind {i}\t{'not_' * (i % 2)}entailment\n" for i in range(24))
    (tmp_path / "GLUE" / "RTE").mkdir(parents=True)
    for split in ("train", "dev"):
        (tmp_path / "GLUE" / "RTE" / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + rows)
    squad = squad_files.made_up(tmp_path / "SQuAD", train=16, dev=8)
    for words in (("glue", "--tasks", "rte", "--data", tmp_path / "GLUE"), ("squad", "--data", squad)):
        (result,) = json.loads(actbench("finetune", *words, *tune, "--train-size", 8, check=0).stdout)["results"]
        run = Run(tmp_path / "runs" / result["run"])
        assert run.manifest is not None and run.info["encoder"]["length"] == LENGTH
    text = "the house of the wind is in the river and the stone " * 60
    (tmp_path / "text.txt").write_text(text)
    measured = actbench("eval", "perplexity", run.info["parent"], "--corpus", "text.txt", "--json", check=0)
    (found,) = json.loads(measured.stdout)["results"]
    assert found["loss"] > 0 and found["text_tokens"] == len(reference_tokenizer().tokenize(text))


def test_both_files_of_a_vocabulary_come_from_the_hub(tmp_path: Path) -> None:
    source = save_roberta(roberta(), tmp_path / "model", one_file=False)
    ask = "import json; from actbench.data.checkpoints import open_checkpoint as find; "
    ask += "print(json.dumps(find('org/name').facts()))"
    with HubStandIn({path.name: path.read_bytes() for path in source.iterdir()}, kind="models") as hub:
        words = [sys.executable, "-c", ask]
        done = subprocess.run(words, env=hub.environment(tmp_path), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["sha256"]
    assert set(found) == {"config.json", "model.safetensors", "vocab.json", "merges.txt"}


def no_files(source: Path) -> None:
    for file in source.glob("tokenizer*"):
        file.unlink()


def no_merges(source: Path) -> None:
    no_files(source)
    save_roberta(roberta(), source, one_file=False)
    (source / "merges.txt").unlink()


def no_mask(source: Path) -> None:
    text = (source / "tokenizer.json").read_text()
    (source / "tokenizer.json").write_text(text.replace("<mask>", "<masked>"))


def of_bert(source: Path) -> None:
    no_files(source)
    (source / "vocab.txt").write_text("\n".join(WORDS))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (no_files, "no tokenizer (looked for tokenizer.json, vocab.txt, vocab.json)"),
        (no_merges, "a vocabulary without its merges (put vocab.bpe or merges.txt beside it)"),
        (no_mask, "has no <mask>"),
        (of_bert, "holds a wordpiece tokenizer: of a roberta, only a byte_bpe one is supported"),
        ({"pad_token_id": None}, "pad_token_id: expected the number of a token, not None"),
        ({"type_vocab_size": 3}, "type_vocab_size: 3 is not supported (supported: 2 or 1)"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_by_name(tmp_path: Path, change: Any, expected: str) -> None:
    source = save_roberta(roberta(), tmp_path / "model", **(change if isinstance(change, dict) else {}))
    if callable(change):
        change(source)
    with pytest.raises(BadInput) as caught:
        take(source)
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_relative_of_another_type_is_one_error(actbench: Any, tmp_path: Path) -> None:
    source = save_roberta(roberta(), tmp_path / "model", model_type="xlm-roberta", type_vocab_size=7)
    done = actbench("runs", "import-hf", source, check=2)
    assert "model_type: 'xlm-roberta' is not supported (supported: 'bert' or 'roberta')" in done.stderr
    assert done.stderr.count("\n") == 1
