"""Sides of a comparison that only write down what they do: run in place of `actbench.bench.peers.side`."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from actbench.bench.peers import side
from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import PackOrder, Report


def counting(order: PackOrder, gate: Gate) -> Report:
    """Writes the program's name, once a step, to a file that both sides share."""
    for step in range(order.times):
        with (order.folder.parent / "steps").open("a") as log:
            log.write(f"{sys.argv[1]} {step} {os.environ.get('OMP_NUM_THREADS')}\n")
        time.sleep(0.02 if sys.argv[1] == "slow" else 0.0)
        gate.step_done()
    return Report(tokens=order.times)


def crashing(order: PackOrder, gate: Gate) -> Report:
    """Prints on both streams, does two steps and fails."""
    print("nothing to do with the answers")
    for _ in range(2):
        gate.step_done()
    raise ArithmeticError("no third step")


def killed(order: PackOrder, gate: Gate) -> Report:
    """Ends as the kernel ends a process that takes too much memory."""
    os.kill(os.getpid(), 9)
    raise AssertionError


def unfollowed(order: PackOrder, gate: Gate) -> Report:
    """Trains without ever asking."""
    return Report(loss=1.0)


def hanging(order: PackOrder, gate: Gate) -> Report:
    """Starts a process of its own, then never ends."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (order.folder.parent / sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
    gate.step_done()
    time.sleep(600)
    return Report()


FAKES = {
    "actbench-pack": counting,
    "datasets-pack": counting,
    "slow": counting,
    "crash": crashing,
    "killed": killed,
    "unfollowed": unfollowed,
    "hang": hanging,
}

if __name__ == "__main__":
    side.PROGRAMS = {name: (f"fake_sides:{function.__name__}", PackOrder) for name, function in FAKES.items()}
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120
    side.main()
