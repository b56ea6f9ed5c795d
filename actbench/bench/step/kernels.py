"""What a profile says of the time between a step's first and last moment, by class of kernel."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import profile

from actbench.bench.step.clock import RANGE

MATMUL, ATTENTION, COMPILED, EAGER = "matmul", "fused attention", "compiled elementwise", "eager elementwise"
OPTIMISER, EMBEDDING, COPIES, DATA = "optimiser", "embedding", "copies and casts", "data"
OTHER, BETWEEN = "other kernels", "between kernels"
CLASSES = (MATMUL, ATTENTION, COMPILED, EAGER, EMBEDDING, COPIES, OPTIMISER, DATA, OTHER, BETWEEN)

# The first that fits decides. Nothing is computed in what only leads from one kernel to the next: ranges, autograd's
# functions, the compiler's wrappers. A fused kernel's name holds those of all operations in it.
RULES = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (BETWEEN, r"^(part of a step|autograd::|torch::autograd|Torch-Compiled|TorchDynamo|Pregraph|AOTDispatcher)"),
        (BETWEEN, r"^(Optimizer\.|cuda[A-Z]|cu[A-Z]|detach$|\[memory\])|(?-i:^_?[A-Z]\w+$)"),
        (COMPILED, r"cpp_fused|^triton_|CompiledFxGraph"),
        (ATTENTION, r"scaled_dot_product|efficient_attention|flash|fmha"),
        (MATMUL, r"^(aten|mkldnn|mkl|onednn)::_?\w*(mm|mv|matmul|linear|linear_pointwise|dot)$"),
        (MATMUL, r"gemm|gemv|cutlass|cublas|nvjet|xmma"),
        (OPTIMISER, r"adam|_foreach_|multi_tensor_apply"),
        (EMBEDDING, r"embedding|indexSelect|index_select"),
        (COPIES, r"^aten::(copy_|_to_copy|clone|contiguous|cat|stack)$|memcpy|memset|direct_copy|CatArray"),
        (
            BETWEEN,  # another view of the same memory, or memory without contents
            r"^aten::(empty|as_strided|view|_unsafe_view|reshape|_reshape_alias|detach|t$|to$|transpose|permute|select$|"
            r"slice|expand|unbind|split|chunk|narrow|squeeze|unsqueeze|flatten|alias|resize|result_type|resolve_|item|"
            r"_local_scalar|is_|lift|set_|new_empty|_has_)",
        ),
        (EAGER, r"^aten::|elementwise|reduce|softmax|layer_norm|at::native"),
    )
)


@dataclass(frozen=True)
class Kernel:
    """All calls of a kernel in one part of the step; of matrix products, those with the same shapes.

    `part` is empty on a GPU: it runs what was queued long before. `share` is that of the whole step.
    """

    name: str
    kind: str
    part: str
    calls: float  # a step
    share: float

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"name": self.name, "class": self.kind, "part": self.part, "calls": self.calls, "share": self.share}


@dataclass(frozen=True)
class Breakdown:
    """The shares of the profiled steps' time: by class, in the order of CLASSES, and of the kernels, largest first.

    The classes' shares add up to one: what is in no kernel is between them.
    """

    shares: dict[str, float]
    kernels: tuple[Kernel, ...]
    step_seconds: float  # the mean profiled step


def classify(name: str) -> str:
    """The class of a kernel or of another event, by its name in a profile."""
    return next((kind for kind, pattern in RULES if pattern.search(name)), OTHER)


def breakdown(profiler: profile, device: str, steps: int, seconds: float) -> Breakdown:
    """Self times of a profile of so many steps, which took so many seconds in all."""
    events = list(profiler.events() or [])
    times = _on_gpu(events) if device == "cuda" else _on_cpu(events)
    microseconds: dict[str, float] = defaultdict(float)
    calls: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for key, time in times:
        microseconds[key[1]] += time
        calls[key].append(time)
    # Streams may overlap; then the kernels' own time is the whole.
    whole = max(1e6 * seconds, sum(microseconds.values()))
    microseconds[BETWEEN] += whole - sum(microseconds.values())
    kernels = [
        Kernel(name, kind, part, len(each) / steps, sum(each) / whole)
        for (name, kind, part), each in calls.items()
        if kind != BETWEEN
    ]
    shares = {kind: microseconds[kind] / whole for kind in CLASSES}
    return Breakdown(shares, tuple(sorted(kernels, key=lambda kernel: -kernel.share)), seconds / steps)


Timed = tuple[tuple[str, str, str], float]  # name, class, part of the step; microseconds


def _on_gpu(events: Iterable[FunctionEvent]) -> Iterable[Timed]:
    for event in events:
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation:
            yield (event.name, classify(event.name), ""), event.time_range.elapsed_us()


def _on_cpu(events: list[FunctionEvent]) -> Iterable[Timed]:
    """What stands within the making of a batch or the optimiser's work is that, whatever its name."""
    # Where compiled kernels have names of their own, the graph's own time is Python, which calls them.
    named = any(classify(event.name) == COMPILED and "CompiledFxGraph" not in event.name for event in events)
    for event in events:
        part = _part(event)
        kind = part if part in (DATA, OPTIMISER) else classify(event.name)
        if named and "CompiledFxGraph" in event.name:
            kind = BETWEEN
        yield (_label(event, kind), kind, part), event.self_cpu_time_total


def _part(event: FunctionEvent | None) -> str:
    while event is not None:
        if event.name.startswith(RANGE):
            return event.name.removeprefix(RANGE)
        event = event.cpu_parent
    return ""


def _label(event: FunctionEvent, kind: str) -> str:
    """The name, and of a matrix product its factors' shapes."""
    if kind != MATMUL:
        return event.name
    first = 1 if "add" in event.name else 0  # what is added comes before the factors
    shapes: list[list[int]] = (event.input_shapes or [])[first : first + 2]  # type: ignore[assignment]
    return " ".join([event.name, *("x".join(map(str, shape)) for shape in shapes)])
