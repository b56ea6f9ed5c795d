"""A signal is never lost, whatever training was doing when it came."""

import contextlib
import signal

import pytest

from actbench.errors import Interrupted
from actbench.training.signals import Stop, interruptible, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_nobody_looked_at_still_interrupts(number):
    former = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped") as caught, stoppable("stopped"):
        signal.raise_signal(number)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) is former


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_repeated_signal_of_a_cluster_is_one(number, monkeypatch):
    monkeypatch.setattr(Stop, "repeats", number == signal.SIGINT)
    with pytest.raises(Interrupted) as caught, stoppable("stopped") as stop:
        for _ in range(3):
            signal.raise_signal(number)
        assert stop.number == number
    assert caught.value.exit_code == 128 + number


def test_what_a_library_makes_of_a_signal_becomes_the_signals_own_exit_code():
    with pytest.raises(Interrupted) as caught, stoppable("stopped"):
        signal.raise_signal(signal.SIGTERM)
        raise SystemExit(0)
    assert caught.value.exit_code == 143


def test_an_exit_without_a_signal_and_an_error_pass_through():
    with pytest.raises(SystemExit), stoppable("stopped"):
        raise SystemExit(3)
    with pytest.raises(KeyError), stoppable("stopped"):
        raise KeyError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_goes_past_those_who_catch_every_error(number):
    """As those do who read from a hub, and tell of any error as one of the connection."""
    former, after = signal.getsignal(number), []
    with pytest.raises(Interrupted, match="stopped here") as caught, interruptible("stopped here"):
        with contextlib.suppress(Exception):
            signal.raise_signal(number)
        after.append("went on")
    assert caught.value.exit_code == 128 + number and not after
    assert signal.getsignal(number) is former


def test_a_signal_that_is_ignored_stays_so():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible("stopped"):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)
