"""Coefficients shared by the layer, by groups of neighbouring channels, or not at all act on their own channels."""

from __future__ import annotations

import pytest
import torch
from activation_values import inputs_of

from actbench.activations import ElementwiseActivation, available, create, get

NAMES = [name for name in available() if issubclass(get(name), ElementwiseActivation)]
WIDTH = 8


@pytest.mark.parametrize("sharing", ["channel", 1, 2, 4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_equal_coefficients_are_one_for_the_layer(name: str, sharing: str | int) -> None:
    shared, one = create(name, width=WIDTH, sharing=sharing), create(name, width=WIDTH)
    sets = WIDTH if sharing == "channel" else sharing
    for many, single in zip(shared.parameters(), one.parameters(), strict=True):
        assert many.shape == (sets, *single.shape)
    (x,) = inputs_of(name, 3, 5, WIDTH)
    torch.testing.assert_close(shared(x), one(x))


@pytest.mark.parametrize("sharing", ["channel", 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_changed_set_changes_its_own_channels_only(name: str, sharing: str | int) -> None:
    activation, (x,) = create(name, width=WIDTH, sharing=sharing), inputs_of(name, 64, WIDTH)
    before = activation(x)
    with torch.no_grad():
        for parameter in activation.parameters():
            parameter[1] += 0.25
    mine = torch.arange(WIDTH) * (2 if sharing == 2 else WIDTH) // WIDTH == 1
    changed = (activation(x) != before).any(dim=0)
    assert torch.equal(changed, mine)
