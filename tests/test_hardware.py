"""What `auto` chooses."""

import pytest

from actbench.config.schema import HardwareSection
from actbench.training import hardware


@pytest.mark.parametrize(
    ("bf16", "compiler", "width", "expected"),
    [
        (False, True, 512, "fp32"),
        (True, True, 128, "bf16"),
        (True, True, None, "bf16"),
        (True, False, 256, "bf16"),
        (True, False, 128, "bf16"),
        (True, False, 64, "fp32"),
    ],
)
def test_bf16_is_chosen_where_it_is_faster(monkeypatch, bf16, compiler, width, expected):
    monkeypatch.setattr(hardware, "bf16_is_faster", lambda device: bf16)
    monkeypatch.setattr(hardware, "_compiler", lambda device: compiler)
    assert hardware.choose(HardwareSection(device="cpu"), width).precision == expected


def test_a_precision_that_is_asked_for_is_kept(monkeypatch):
    monkeypatch.setattr(hardware, "bf16_is_faster", lambda device: True)
    section = HardwareSection(device="cpu", precision="bf16", compile="never")
    assert hardware.choose(section, 64).precision == "bf16"
