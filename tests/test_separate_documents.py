"""Documents that are kept apart: no token of one has any part in the loss of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipe_text import GOOD, Write, the_problem

from actbench.config import load_recipe
from actbench.config.schema import GptSection
from actbench.data.batches import CausalSequences
from actbench.nn.build import build
from actbench.nn.dropout import set_keys
from actbench.nn.gpt import Gpt

END, FIRST, SECOND = 0, 12, 30  # the separator, and where in a sequence it stands


def model(layout: Any, dropout: float) -> Gpt:
    section = GptSection(
        family="gpt", layout=layout, n_layers=2, d_model=32, n_heads=2, d_ff=64, dropout=dropout, init_std=0.3
    )
    made = build(section, 50, 64, 0)
    assert isinstance(made, Gpt)
    set_keys(made, 0, 0)
    return made.train(dropout > 0)


def batch(changed: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    """One sequence of three documents; the tokens at the places in `changed` are others."""
    tokens = np.random.default_rng(0).integers(1, 50, 65).astype(np.uint16)
    tokens[[FIRST, SECOND]] = END
    for place in changed:
        tokens[place] = 1 + tokens[place] % 49
    return CausalSequences(tokens, 64, END).batch(np.array([0]), [()])


def losses(gpt: Gpt, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of every position (T,), each as `forward` would add it up."""
    logits = gpt.head.logits(gpt.encode(given["tokens"], given.get("documents")))
    return torch.nn.functional.cross_entropy(logits[0], given["targets"][0], reduction="none")


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("mode", ["training", "dropout", "no gradient"])
def test_a_token_changes_its_own_documents_losses_alone(layout: str, mode: str) -> None:
    gpt = model(layout, 0.1 if mode == "dropout" else 0.0)
    with torch.set_grad_enabled(mode != "no gradient"):
        plain, changed = losses(gpt, batch()), losses(gpt, batch((FIRST + 3,)))
    same = plain == changed
    # The position before the changed token predicts it; a separator predicts its document's first token.
    assert same[: FIRST + 2].all() and same[SECOND:].all(), "other documents, to the last bit"
    assert not same[FIRST + 2 : SECOND].any()


def test_together_they_do_see_each_other() -> None:
    gpt = model("llama", 0.0)
    given, other = batch(), batch((FIRST + 3,))
    del given["documents"], other["documents"]
    assert not (losses(gpt, given) == losses(gpt, other))[SECOND:].any()


def test_a_document_alone_has_the_same_loss() -> None:
    """With rotary positions, which are relative: where in the sequence it stands does not matter."""
    gpt, given = model("llama", 0.0), batch()
    alone = {name: tensor[:, FIRST:SECOND] for name, tensor in given.items() if name != "documents"}
    torch.testing.assert_close(losses(gpt, given)[FIRST:SECOND], losses(gpt, alone), rtol=1e-4, atol=1e-5)


def test_forward_takes_the_batch_as_it_is() -> None:
    gpt, given = model("llama", 0.0), batch()
    torch.testing.assert_close(gpt(**given), losses(gpt, given).mean())
    assert given["documents"][0].tolist() == [0] * FIRST + [1] * (SECOND - FIRST) + [2] * (64 - SECOND)


def test_a_bert_cannot(write: Write) -> None:
    problem = the_problem(write(GOOD), "batch.separate_documents=true")
    assert "batch.separate_documents needs a GPT" in problem.message


def test_training_and_measuring_keep_documents_apart(actbench: Any, tiny_recipe: Any, tmp_path: Path) -> None:
    recipe = tiny_recipe("gpt", batch={"sequences": 8, "length": 32, "separate_documents": True})
    assert load_recipe(recipe, ["batch.separate_documents=false"]).identity() != load_recipe(recipe).identity()
    actbench("pretrain", "-r", recipe, check=0)
    (run,) = [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    actbench("eval", "perplexity", run, check=0)
