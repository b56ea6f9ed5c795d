"""The processes that train one run together, and what they say to each other.

All do the same. What only one may do, above all to write the run's folder, the first does while the others wait, and
all go on or end as it did. What decides about the next step is agreed upon, so no process waits for one that has left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor

from actbench.errors import ActbenchError, BadInput, Problem
from actbench.training.hardware import Hardware

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process, number `rank` of `size`. `group` connects them all over their CPUs, wherever the model is."""

    rank: int = 0
    size: int = 1
    environment: ClusterEnvironment | None = None
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def led(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, and it is done there alone.

        Where it raises, all end with its exit code, the others without a word.
        """
        if self.size == 1:
            return work()
        if not self.first:
            result, code = self._told(None)
            if code:
                raise SystemExit(code)
            return result
        try:
            result = work()
        except BaseException as error:
            self._told((None, error.exit_code if isinstance(error, ActbenchError) else 1))
            raise
        self._told((result, 0))
        return result

    def most(self, *numbers: float) -> list[float]:
        """Of each number the largest that any process gives."""
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def total(self, *numbers: float) -> list[float]:
        """Of each number the sum over the processes."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def gathered(self, x: Tensor) -> Tensor:
        """What each process gives (...), one after the other (size, ...), on the CPU."""
        x = x.cpu()
        if self.size == 1:
            return x[None]
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x, group=self.group)
        return torch.stack(parts)

    def average(self, tensors: list[Tensor]) -> None:
        """Puts the mean over the processes into every tensor, where the tensors are."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def _reduced(self, numbers: tuple[float, ...], how: Any) -> list[float]:
        if self.size == 1:
            return list(numbers)
        exact = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(exact, how, group=self.group)
        return exact.tolist()

    def _told(self, said: Any) -> Any:
        box = [said]
        dist.broadcast_object_list(box, src=0, group=self.group, device=torch.device("cpu"))
        return box[0]


ALONE = World()


def cluster() -> ClusterEnvironment | None:
    """How this process was started as one of several: by torchrun, by srun, or by actbench itself. None: it was not.

    Raises BadInput where srun was not told enough.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        try:
            return SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise BadInput(Problem(str(error), "srun")) from None
    return LightningEnvironment() if "LOCAL_RANK" in os.environ else None


def leads() -> bool:
    """Whether this process is the first of those that were started together, or alone."""
    environment = cluster()
    return environment is None or (environment.node_rank(), environment.local_rank()) == (0, 0)


def _check_numbers(environment: ClusterEnvironment, hardware: Hardware) -> None:
    started, asked = environment.world_size(), f"{hardware.devices} devices on each of {hardware.nodes} nodes"
    try:
        environment.validate_settings(hardware.devices, hardware.nodes)
        fits = started == hardware.processes
    except ValueError:
        fits = False
    if not fits:
        raise BadInput(
            Problem(f"the recipe asks for {asked}, {started} processes were started", key="hardware.devices")
        )


@contextlib.contextmanager
def joined(hardware: Hardware) -> Iterator[World]:
    """Meets the other processes of the run. Raises BadInput when as many were not started as the recipe asks for."""
    environment, wanted = cluster(), hardware.processes
    if environment is not None:
        environment.set_world_size(wanted)  # which torchrun and srun know better
        environment.set_global_rank(environment.node_rank() * hardware.devices + environment.local_rank())
        _check_numbers(environment, hardware)
    if environment is None or wanted == 1:
        yield ALONE
        return
    if hardware.device == "cuda":
        torch.cuda.set_device(environment.local_rank())
    os.environ.setdefault("OMP_NUM_THREADS", str(hardware.threads))  # else Lightning chooses how many there are
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    backend = "nccl" if hardware.device == "cuda" else "gloo"
    dist.init_process_group(backend, rank=environment.global_rank(), world_size=wanted)
    yield World(environment.global_rank(), wanted, environment, dist.new_group(backend="gloo"))
    dist.destroy_process_group()  # only where all went well: else somebody may be missing, and it would wait
