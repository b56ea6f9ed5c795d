"""AdamW's groups: the coefficients of each slot learn as the recipe says, or as their activation wants by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, act, bert_section, ids

from actbench.config.activation import ActivationOverride
from actbench.config.schema import OptimizerSection, ScheduleSection
from actbench.nn.bert import Bert, BertClassifier
from actbench.nn.build import activation_slots, build
from actbench.nn.heads import Classifier
from actbench.training.optimizer import make_optimizer, set_learning_rates, unfreeze

WILLING = """
import torch
from actbench.activations import Activation

class Willing(Activation):
    weight_decay = 0.3
    lr_multiplier = 4.0

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(1.0))
        self.fixed = torch.nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def compute(self, x):
        return (self.a + self.fixed) * x
"""


def rational(**changes: Any) -> Bert:
    pooler = ActivationOverride(slot="pooler", name="raf", init="tanh")
    section = bert_section(n_layers=3, activation=act("raf"), activation_overrides=(pooler,), **changes)
    model = build(section, VOCABULARY, LENGTH, seed=0)
    assert isinstance(model, Bert)
    return model


def section(base: dict[str, Any] | None = None, *overrides: dict[str, Any]) -> OptimizerSection:
    return OptimizerSection.model_validate(
        {"lr": 0.01, "activation": base or {}, "activation_overrides": list(overrides)}
    )


def groups(model: torch.nn.Module, *settings: Any) -> dict[str, dict[str, Any]]:
    """The groups beside the matrices' and the vectors', by name."""
    found = {group["name"]: group for group in make_optimizer(model, section(*settings)).param_groups}
    assert list(found)[:2] == ["matrices", "vectors"]
    return dict(list(found.items())[2:])


def backward(model: Bert, through_pooler: bool = True) -> None:
    model.zero_grad()
    loss = model(ids(), torch.tensor([[3], [2], [16]]), torch.tensor([[5], [6], [7]]))
    (loss + model.pooler(model.encode(ids())).sum() * through_pooler).backward()


def test_alike_coefficients_share_one_group() -> None:
    model = rational()
    (group,) = groups(model).values()
    assert group["name"] == "activation"
    assert (group["lr"], group["weight_decay"], group["schedule"], group["unfreeze_after"]) == (0.01, 0.0, "same", None)
    expected = [p for activation in activation_slots(model).values() for p in activation.parameters()]
    assert [id(p) for p in group["params"]] == [id(p) for p in expected]


def test_slots_that_learn_otherwise_have_groups_of_their_own() -> None:
    overrides = ({"layers": "0,2", "lr": 0.5, "schedule": "constant"}, {"slot": "pooler", "weight_decay": 0.1})
    found = groups(rational(), {"lr_multiplier": 3.0}, *overrides)
    told = {name: (g["peak_lr"], g["weight_decay"], g["schedule"], len(g["params"])) for name, g in found.items()}
    assert told == {
        "activation of layers 0,2": (0.5, 0.0, "constant", 4),
        "activation of layer 1": (pytest.approx(0.03), 0.0, "same", 2),
        "activation of pooler": (pytest.approx(0.03), 0.1, "same", 2),
    }


def test_every_parameter_is_in_one_group_but_frozen_ones_which_are_in_none() -> None:
    model = rational()
    optimizer = make_optimizer(model, section({}, {"layers": "1-2", "frozen": True}, {"slot": "pooler", "lr": 1.0}))
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    frozen = [id(p) for i in (1, 2) for p in model.layers[i].feed_forward.activation.parameters()]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters()} - set(frozen)


def test_what_the_recipe_leaves_unsaid_the_activation_says(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(WILLING, encoding="utf-8")
    own = act(f"{tmp_path / 'own.py'}:Willing")
    model = build(bert_section(activation=own), VOCABULARY, LENGTH, seed=0)
    (group,) = groups(model).values()
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.04, 0.3, 2)
    (group,) = groups(model, {"lr_multiplier": 1.0, "weight_decay": 0.0}).values()
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.0)
    (group,) = groups(model, {"lr": 0.7}).values()
    assert group["lr"] == 0.7


def test_frozen_coefficients_have_no_gradient_and_never_move() -> None:
    model = rational()
    optimizer = make_optimizer(model, section({"weight_decay": 0.5}, {"layers": "0", "frozen": True}))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(3):
        backward(model)
        optimizer.step()
    activations = {name: p for name, p in model.named_parameters() if ".activation." in name}
    assert len(activations) == 8
    for name, parameter in activations.items():
        frozen = name.startswith("layers.0.")
        assert (parameter.grad is None) is frozen
        assert torch.equal(parameter, before[name]) is frozen


def test_unfrozen_coefficients_start_learning_after_step_n_with_fresh_moments() -> None:
    model = rational()
    optimizer = make_optimizer(model, section({"weight_decay": 0.5, "unfreeze_after": 3}, {"layers": "0", "lr": 0.1}))
    slots = activation_slots(model)
    start = slots["layers.1"].numerator.detach().clone()
    for step in range(5):
        unfreeze(optimizer, step)
        backward(model)
        assert all((p.grad is None) == (step < 3) for slot in slots.values() for p in slot.parameters())
        optimizer.step()
        assert torch.equal(slots["layers.1"].numerator, start) is (step < 3)
    assert optimizer.state[slots["pooler"].numerator]["step"] == 2
    assert optimizer.state[model.layers[0].feed_forward.up.weight]["step"] == 5


def test_a_constant_schedule_stays_at_its_peak_after_the_warm_up() -> None:
    optimizer = make_optimizer(rational(), section({}, {"slot": "pooler", "lr": 0.5, "schedule": "constant"}))
    rates = {group["name"]: group for group in optimizer.param_groups}
    for progress, shared, constant in ((0.05, 0.5, 0.5), (0.1, 1.0, 1.0), (0.55, 0.5, 1.0), (1.0, 0.0, 1.0)):
        set_learning_rates(optimizer, ScheduleSection(kind="linear", warmup_fraction=0.1), progress)
        assert rates["matrices"]["lr"] == pytest.approx(0.01 * shared)
        assert rates["activation of layers 0-2"]["lr"] == pytest.approx(0.01 * shared)
        assert rates["activation of pooler"]["lr"] == pytest.approx(0.5 * constant)


def test_fine_tuning_groups_by_the_encoders_slots() -> None:
    model = BertClassifier(rational(), Classifier(32, 2, 0.1))
    assert list(activation_slots(model)) == ["layers.0", "layers.1", "layers.2", "pooler"]
    assert set(groups(model, {"lr": 0.5})) == {"activation"}
    assert set(groups(model, {}, {"slot": "pooler", "lr": 0.5})) == {"activation of layers 0-2", "activation of pooler"}
