"""What this machine computes best with: device, precision, and whether there is a compiler."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config as functorch
import torch.fx.experimental._config as symbols
from torch import nn

from actbench.config.schema import HardwareSection
from actbench.errors import BadInput, Problem
from actbench.nn.bert import Bert
from actbench.nn.block import Block
from actbench.nn.gpt import Gpt
from actbench.nn.loss import CrossEntropyPart

# On a CPU, lets the C++ compiler join a multiplication and an addition into one instruction, which rounds once instead
# of twice: a polynomial takes half as many instructions. On a GPU, has no sum's order chosen by a race between kernels:
# another process would choose another, and a resumed run would end with other bits.
COMPILER: dict[str, Any] = {
    "cpp.enable_floating_point_contract_flag": "fast",
    "deterministic": True,
}
# What torch traced of a module it keeps for later processes, but not of one with gradients of its own unless it is told
# to (pytorch pull request 149751), nor yet of one that leaves autocast (191363): all of our blocks, which would start
# two seconds later. Before 2.13 what it kept did not say enough of the autocast around.
KEEPS_TRACES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
AUTOCAST = tuple(f"torch.amp.autocast_mode.{name}" for name in ("_enter_autocast", "_exit_autocast"))
functorch.autograd_cache_allow_custom_autograd_functions = KEEPS_TRACES

SINGLE: dict[str, Any] = {"strategy": "single", "devices": 1, "nodes": 1}  # what a run is that does not say it

GRAPHS_A_LAYER = 4  # training and validating, before and after its coefficients are unfrozen

CASTS_PAY = 128  # d_model from which bf16 is mostly faster on a CPU without a compiler, casts and all


@dataclass(frozen=True)
class Hardware:
    """The choices made for a run, recorded with it."""

    device: str
    precision: str  # fp32 or bf16: the dtype of matrix products; weights and optimiser are fp32 either way
    compiled: bool
    threads: int  # of each process
    strategy: str = "single"
    devices: int = 1  # processes a node
    nodes: int = 1

    @property
    def processes(self) -> int:
        """How many train the run together."""
        return self.devices * self.nodes

    def facts(self) -> dict[str, Any]:
        """JSON data for the run's record. One process is not worth a word."""
        return {key: value for key, value in asdict(self).items() if SINGLE.get(key) != value}

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Matrix products in this precision."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    @property
    def lightning_precision(self) -> str:
        """The same choice in Lightning's words."""
        return "bf16-mixed" if self.precision == "bf16" else "32-true"


def choose(section: HardwareSection, width: int | None = None, *, compile_key: str = "hardware.compile") -> Hardware:
    """Resolves every `auto` for a model of that `width`; without one, for wide ones.

    Raises BadInput for a device or compiler asked for that is not there, the latter by `compile_key`.
    """
    device = _device(section.device)
    _check_spread(section, device)
    compiler = _compiler(device)
    if section.compile == "always" and not compiler:
        raise BadInput(Problem(f"no compiler found for {device}", key=compile_key, hint="use auto or never"))
    compiled = compiler and section.compile != "never"
    precision = section.precision
    if precision == "auto":
        narrow = device == "cpu" and not compiled and width is not None and width < CASTS_PAY
        precision = "bf16" if bf16_is_faster(device) and not narrow else "fp32"
    spread = (section.strategy, section.devices, section.nodes)
    return Hardware(device, precision, compiled, torch.get_num_threads(), *spread)


def bf16_is_faster(device: str) -> bool:
    """CPUs have bf16 matrix products only with AMX or AVX512-BF16; without, they emulate them, slower than fp32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(flags.get("amx_bf16") or flags.get("avx512_bf16"))
    return False


def _compiler(device: str) -> bool:
    """torch compiles with a C++ compiler for the CPU, with triton and a C compiler for CUDA."""
    if device == "cuda":
        return find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))
    return device == "cpu" and shutil.which("c++") is not None


def compile_blocks(model: Bert | Gpt) -> None:
    """Compiles the embeddings' end, each block and the loss in place: alike layers share graphs; names stay."""
    forget_graphs(len(model.layers))
    _compile_piece(model, "embedded", dynamic=False)
    for module in (*model.layers, *(each for each in model.modules() if isinstance(each, CrossEntropyPart))):
        compile_module(module)


def compile_module(module: nn.Module) -> None:
    """Compiles a module in place, for inputs of one shape; training and benchmarks compile by this alone."""
    module.compile(dynamic=False, options=_options(module))


def compile_pieces(encoder: Bert) -> None:
    """Compiles in place, for batches of any shape without their padding, what blocks do token by token and in groups.

    Not whole blocks: each number of groups would need a graph of its own, and such graphs take a minute to make. What
    is set for the whole process changes nothing of graphs for inputs of one shape.
    """
    symbols.use_duck_shape = False  # sizes that are equal once are not taken for one
    torch._dynamo.config.specialize_float = True  # a rate of dropout is no variable
    _compile_piece(encoder, "embedded", dynamic=True)
    for block in encoder.modules():
        if isinstance(block, Block):
            _compile_piece(block, "by_token", dynamic=True)
            _compile_piece(block.attention, "in_group", dynamic=True)


def forget_graphs(n_layers: int) -> None:
    """Makes room for the graphs of a model: those of a former one would count against its limit."""
    torch.compiler.reset()
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS_A_LAYER * n_layers)


def _compile_piece(module: nn.Module, method: str, *, dynamic: bool) -> None:
    setattr(module, method, torch.compile(getattr(module, method), dynamic=dynamic, options=_options(module)))


def _options(module: nn.Module) -> dict[str, Any]:
    kept = {"unsafe_marked_cacheable_functions": dict.fromkeys(AUTOCAST, _code(module))} if KEEPS_TRACES else {}
    return {**COMPILER, **kept}


def _code(module: nn.Module) -> str:
    """A digest of the files that a module's classes stand in, which what was traced of it is kept by as well.

    By itself torch tells custom operations, as `nn/grouped.py` and anybody's activation may have, by their names alone.
    """
    files = {getattr(sys.modules.get(type(each).__module__), "__file__", None) for each in module.modules()}
    digest = hashlib.sha256(torch.__version__.encode())
    for file in sorted(filter(None, files)):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def now(device: str) -> float:
    """time.perf_counter() once the device has done all that was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def use_threads(n: int) -> None:
    """Has this process compute with `n` threads: torch, what it compiles and compiles with, and the tokenizer."""
    import torch._inductor.config as inductor

    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(n)
    torch.set_num_threads(n)
    inductor.compile_threads = min(inductor.compile_threads or n, n)


def _check_spread(section: HardwareSection, device: str) -> None:
    if device == "mps" and section.processes > 1:
        raise BadInput(Problem("mps is one device", key="hardware.strategy", hint="single"))
    if device == "cuda" and section.devices > torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise BadInput(Problem(f"{section.devices} devices, but {there} GPUs are here", key="hardware.devices"))


def _device(wanted: str) -> str:
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[wanted]:
        found = ", ".join(name for name, there in present.items() if there)
        raise BadInput(Problem(f"no {wanted} device on this machine", key="hardware.device", hint=f"found: {found}"))
    return wanted
