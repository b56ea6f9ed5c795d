"""Ranks of matrices whose singular values are known, and which matrices of a model are looked at."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from actbench.config import load_recipe
from actbench.config.activation import ActivationSpec
from actbench.config.schema import BertSection, GptSection
from actbench.evaluation.weight_rank import matrix_ranks, model_ranks
from actbench.nn.build import build
from actbench.training.plan import plan
from actbench.training.pretrain import pretrain

SLOTS = ("layers.0", "layers.1")
SIZES = {"n_layers": 2, "d_model": 16, "n_heads": 2, "d_ff": 48}


def test_the_measures_of_a_matrix_with_singular_values_3_and_1() -> None:
    found = matrix_ranks(torch.tensor([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found["effective_rank"] == pytest.approx(math.exp(entropy))
    assert found["effective_rank_share"] == pytest.approx(math.exp(entropy) / 2)
    assert found["stable_rank"] == pytest.approx((9 + 1) / 9)
    assert (found["share_above_1_percent"], found["full_rank"]) == (1.0, 2.0)


def test_one_direction_and_all_directions() -> None:
    one = matrix_ranks(torch.outer(torch.arange(1.0, 6.0), torch.arange(1.0, 9.0)))
    assert one["effective_rank"] == pytest.approx(1, abs=1e-3) and one["stable_rank"] == pytest.approx(1)
    assert one["share_above_1_percent"] == pytest.approx(1 / 5)
    every = matrix_ranks(7 * torch.eye(5))
    assert (every["effective_rank"], every["stable_rank"]) == (pytest.approx(5), pytest.approx(5))


def test_a_singular_value_counts_above_a_hundredth_of_the_largest() -> None:
    assert matrix_ranks(torch.diag(torch.tensor([2.0, 0.0201, 0.0199])))["share_above_1_percent"] == pytest.approx(
        2 / 3
    )


def test_a_matrix_of_zeros_has_no_rank() -> None:
    found = matrix_ranks(torch.zeros(4, 6))
    assert found == {**dict.fromkeys(found, 0.0), "full_rank": 4.0}


@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (256, 704), (1056, 256)])
def test_beside_a_random_matrix_of_its_shape_a_random_matrix_has_all_its_rank(rows: int, columns: int) -> None:
    weight = 0.02 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    assert matrix_ranks(weight)["effective_rank_of_random"] == pytest.approx(1, abs=5e-3)
    assert matrix_ranks(weight[:, :1] @ weight[:1])["effective_rank_of_random"] < 0.01


def test_of_experts_the_mean_is_told() -> None:
    experts = torch.stack([torch.eye(4), torch.diag(torch.tensor([1.0, 0.0, 0.0, 0.0])), torch.zeros(4, 4)])
    found = matrix_ranks(experts)
    assert found["stable_rank"] == pytest.approx((4 + 1 + 0) / 3)
    assert found["effective_rank"] == pytest.approx((4 + 1 + 0) / 3)


def test_every_feed_forward_matrix_of_a_model_is_looked_at() -> None:
    gated = GptSection(family="gpt", **SIZES, activation=ActivationSpec(name="swiglu"))
    model = build(gated, 64, 8, seed=0)
    found = model_ranks(model)
    assert {slot: list(parts) for slot, parts in found.items()} == {slot: ["in", "gate", "out"] for slot in SLOTS}
    assert found["layers.1"]["gate"] == matrix_ranks(model.layers[1].feed_forward.gate.weight)
    plain = model_ranks(build(BertSection(family="bert", **SIZES), 64, 8, seed=0))
    assert {slot: list(parts) for slot, parts in plain.items()} == {slot: ["in", "out"] for slot in SLOTS}


class Experts(nn.Module):
    """A mixture of experts as its weights would be: 3-D, with a router that is called gate."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Module()
        block.feed_forward = nn.Module()
        block.feed_forward.gate = nn.Linear(6, 3, bias=False)
        block.feed_forward.up = nn.Parameter(torch.randn(3, 8, 6))
        block.feed_forward.down = nn.Parameter(torch.randn(3, 6, 8))
        block.feed_forward.activation = nn.Module()
        block.feed_forward.activation.up = nn.Parameter(torch.randn(2, 2))
        self.layers = nn.ModuleList([block])


def test_a_router_and_an_activations_coefficients_are_no_matrices_of_the_block() -> None:
    assert list(model_ranks(Experts())["layers.0"]) == ["in", "out"]


def test_ranks_are_logged_through_training_and_change_nothing(tiny_recipe, tmp_path: Path) -> None:
    planned = [
        plan(load_recipe(tiny_recipe("gpt", logging={"ranks": ranks})), tmp_path / name, lambda _: None)
        for name, ranks in (("a", False), ("b", True))
    ]
    a, b = (pretrain(one, resume=False, say=lambda _: None).folder for one in planned)
    assert a.name == b.name
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    rows = [json.loads(line) for line in (b / "metrics.jsonl").read_text().splitlines()]
    logged = {row["step"]: row["slots"] for row in rows if row["kind"] == "ranks"}
    assert list(logged) == [0, *(row["step"] for row in rows if row["kind"] == "validation")]
    assert logged[0] != logged[12] and list(logged[0]["layers.1"]) == ["in", "out"]
    assert not any(json.loads(line)["kind"] == "ranks" for line in (a / "metrics.jsonl").read_text().splitlines())
