"""The promise the project stands on: runs that differ in the activation differ in nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from actbench.config import load_recipe
from actbench.data.batches import CausalSequences, MaskedSequences, TrainingStream, fixed_batches
from actbench.data.masking import Masking
from actbench.nn.build import build
from actbench.nn.dropout import Dropout, set_keys

RECIPES = Path(__file__).parents[1] / "recipes"
TOKENS = np.random.default_rng(0).integers(5, 1000, 30_000).astype(np.uint16)


def masked(length=32):
    return MaskedSequences(TOKENS, length, cls_id=2, sep_id=3, masking=Masking(0.15, 4, 1000))


def model(family, activation, seed=0, overrides="[]"):
    changes = [f"model.activation.name={activation}", f"model.activation_overrides={overrides}"]
    recipe = load_recipe(RECIPES / "nano" / f"{family}.yaml", changes)
    return build(recipe.model, 1000, 64, seed)


@pytest.mark.parametrize("family", ["bert", "gpt"])
@pytest.mark.parametrize("activation", ["relu", "raf", "poly_relu", "poly_norm", "swiglu"])
def test_every_tensor_that_both_models_have_starts_equal(family, activation):
    one, other = model(family, "gelu").state_dict(), model(family, activation).state_dict()
    shared = [name for name in one if name in other and one[name].shape == other[name].shape]
    feed_forward = [name for name in one if ".feed_forward.up" in name or ".feed_forward.down.weight" in name]
    expected = set(one) - set(feed_forward) if activation == "swiglu" else set(one)
    assert expected <= set(shared)
    assert all(torch.equal(one[name], other[name]) for name in shared)


@pytest.mark.parametrize("family", ["bert", "gpt"])
@pytest.mark.parametrize("name", ["relu", "raf", "poly_norm", "swiglu"])
def test_overrides_of_some_layers_leave_all_other_weights_as_they_start(family, name):
    plain = model(family, "gelu").state_dict()
    mixed = model(family, "gelu", overrides=f"[{{layers: 1-2, name: {name}}}]").state_dict()
    changed = [key for key in plain if key not in mixed or not torch.equal(plain[key], mixed[key])]
    reshaped = [f"layers.{i}.feed_forward.{part}.weight" for i in (1, 2) for part in ("up", "down")]
    reshaped += [f"layers.{i}.feed_forward.up.bias" for i in (1, 2) if family == "bert"]
    assert sorted(changed) == (sorted(reshaped) if name == "swiglu" else [])
    alone = model(family, name).state_dict()
    assert all(torch.equal(mixed[key], alone[key]) for key in mixed if key.startswith(("layers.1.", "layers.2.")))


def test_another_seed_gives_other_weights():
    one, other = model("bert", "gelu", 0).state_dict(), model("bert", "gelu", 1).state_dict()
    assert not torch.equal(one["layers.0.attention.qkv.weight"], other["layers.0.attention.qkv.weight"])


def test_building_a_model_leaves_the_global_generators_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = model("bert", "raf").state_dict()
    torch.manual_seed(123)
    again = model("bert", "raf").state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    torch.set_rng_state(torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("family", ["bert", "gpt"])
@pytest.mark.parametrize("activation", ["raf", "poly_norm", "swiglu"])
def test_dropout_drops_the_same_elements(family, activation):
    def masks(name):
        network = model(family, name).train()
        for module in network.modules():
            if isinstance(module, Dropout):
                module.p = 0.1
        set_keys(network, seed=0, step=7)
        return {n: m(torch.ones(4, 8, 16)) == 0 for n, m in network.named_modules() if isinstance(m, Dropout)}

    one, other = masks("gelu"), masks(activation)
    assert one.keys() == other.keys() and len(one) >= 9
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len({mask.numpy().tobytes() for mask in one.values()}) == len(one), "places share a mask"


def test_batches_and_masks_are_a_function_of_seed_and_position():
    one, other = TrainingStream(masked(), 16, seed=3), TrainingStream(masked(), 16, seed=3)
    for position in (0, 5, 61, 62, 200):  # 62 batches an epoch: across its end, and in the next ones
        a, b = one.batch(position), other.batch(position)
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(one.batch(0)["tokens"], TrainingStream(masked(), 16, seed=4).batch(0)["tokens"])


def test_the_parts_of_a_batch_are_its_rows():
    whole, *parts = (TrainingStream(masked(), 12, seed=0) for _ in range(4))
    for number, part in enumerate(parts):
        part.take_part(number, 3)
    for position in (0, 5, 82, 200):  # across an epoch's end, and in the next ones
        batch = whole.batch(position)
        rows = [part.batch(position) for part in parts]
        assert all(torch.equal(torch.cat([one[key] for one in rows]), value) for key, value in batch.items())


def test_seeking_equals_reading_on():
    stream = TrainingStream(masked(), 16, seed=0)
    read = [batch["tokens"] for batch, _ in zip(stream, range(140), strict=False)]
    sought = TrainingStream(masked(), 16, seed=0)
    sought.position = 130
    assert torch.equal(next(iter(sought))["tokens"], read[130])


def test_an_epoch_sees_each_sequence_once_and_the_next_in_another_order_with_other_masks():
    sequences = masked()
    stream = TrainingStream(sequences, 10, seed=0)
    per_epoch = len(sequences) // 10
    assert len(sequences) % 10 == 0, "the test's numbers need whole batches"

    def contents(epoch):
        rows = []
        for position in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            batch = stream.batch(position)
            tokens = batch["tokens"].scatter(1, batch["masked"], batch["targets"])
            rows += [tuple(row.tolist()) for row in tokens]
        return rows

    first, second = contents(0), contents(1)
    assert sorted(first) == sorted(second) and len(set(first)) == len(sequences)
    assert first != second
    assert not torch.equal(stream.batch(0)["masked"], stream.batch(per_epoch)["masked"])


def test_masking_is_berts():
    sequences = masked(length=130)
    batch = sequences.batch(np.arange(200), [("key", i) for i in range(200)])
    tokens, targets = batch["tokens"].gather(1, batch["masked"]), batch["targets"]
    assert targets.shape == (200, round(0.15 * 128))
    share = (tokens == 4).float().mean().item()
    kept = (tokens == targets).float().mean().item()
    assert abs(share - 0.8) < 0.02 and abs(kept - 0.1) < 0.02
    positions = batch["masked"]
    assert positions.min() >= 1 and positions.max() <= 128, "[CLS] and [SEP] are never masked"


def test_causal_targets_are_the_next_tokens_and_no_token_is_lost_between_sequences():
    sequences = CausalSequences(TOKENS, 32)
    batch = sequences.batch(np.array([0, 1]), [(), ()])
    assert batch["targets"].flatten().tolist() == TOKENS[1:65].tolist()
    assert batch["tokens"].flatten().tolist() == TOKENS[:64].tolist()


def test_validation_does_not_depend_on_seed_or_batch_size():
    whole = torch.cat([batch["tokens"] for batch in fixed_batches(masked(), 50, 70)])
    parts = torch.cat([batch["tokens"] for batch in fixed_batches(masked(), 16, 70)])
    assert len(whole) == 70 and torch.equal(whole, parts)
