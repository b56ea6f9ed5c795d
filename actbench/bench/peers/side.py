"""The process of one side: `python -m actbench.bench.peers.side PROGRAM`, an order on its standard input.

Answers go to standard output, one JSON object a line; whatever else is printed goes to standard error.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

from actbench.bench.peers import orders
from actbench.bench.peers.gate import Gate

HERE, TRICKS = "actbench.bench.peers", "actbench.bench.tricks.sides"

# By name: the function, given its order and the gate, and the order's kind.
PROGRAMS: dict[str, tuple[str, type[orders.Order]]] = {
    "actbench-pretrain": (f"{HERE}.ours:pretrain", orders.PretrainOrder),
    "actbench-finetune": (f"{HERE}.ours:finetune", orders.FinetuneOrder),
    "actbench-pack": (f"{HERE}.ours:pack", orders.PackOrder),
    "hf-pretrain": (f"{HERE}.hugging_face:pretrain", orders.PretrainOrder),
    "hf-finetune": (f"{HERE}.hugging_face:finetune", orders.FinetuneOrder),
    "datasets-pack": (f"{HERE}.datasets_map:pack", orders.PackOrder),
    "loop-pretrain": (f"{HERE}.plain_loop:pretrain", orders.PretrainOrder),
    "step-memory-kept": (f"{TRICKS}:memory_kept", orders.PretrainOrder),
    "step-memory-returned": (f"{TRICKS}:memory_returned", orders.PretrainOrder),
    "step-quiet-trainer": (f"{TRICKS}:quiet_trainer", orders.PretrainOrder),
    "step-gradients-held": (f"{TRICKS}:gradients_held", orders.PretrainOrder),
    "step-default-trainer": (f"{TRICKS}:default_trainer", orders.PretrainOrder),
}


def main() -> None:
    """Does what the order says. An error's last line is the last line of standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    place, kind = PROGRAMS[sys.argv[1]]
    try:
        order = kind.model_validate_json(sys.stdin.readline())
        gate = Gate(sys.stdin, answers)
        module, _, function = place.partition(":")
        report = getattr(import_module(module), function)(order, gate)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # at once, before what libraries print on their way out
    gate.close(report)


if __name__ == "__main__":
    main()
