"""A row that lies on two processes has the norm of the whole row."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

WORKER = """
import os

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_module, distribute_tensor

from actbench.activations import create

CASES = [
    ("poly_norm", {}), ("poly_norm", {"order": 5}), ("poly_norm", {"norm": "l2", "eps": 0.0}), ("poly_relu_norm", {}),
    ("poly_norm_glu", {}), ("polycom", {"kind": 1}), ("polycom", {"kind": 2, "sharing": "channel"}),
]


def run(module, inputs, grad):
    inputs = [x.detach().requires_grad_() for x in inputs]
    output = module(*inputs)
    output.backward(grad)
    return [output, *(x.grad for x in inputs), *(p.grad for p in module.parameters())]


other = os.fork()  # both are there once torch is imported
os.environ["RANK"] = "0" if other else "1"
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
shard = lambda x: distribute_tensor(x, mesh, [Shard(x.ndim - 1)])
for name, options in CASES:
    generator = torch.Generator().manual_seed(0)
    *inputs, grad = 3 * torch.randn(2 + name.endswith("glu"), 2, 3, 8, generator=generator, dtype=torch.float64)
    whole, sharded = (create(name, width=8, **options).double() for _ in range(2))
    distribute_module(sharded, mesh)
    expected = run(whole, inputs, grad)
    found = run(sharded, [shard(x) for x in inputs], shard(grad))
    assert found[0].to_local().shape == (2, 3, 4), "the output is no longer sharded"
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.full_tensor(), b, msg=lambda text: f"{name} {options}: {text}")
dist.barrier()
print("all right", flush=True)
if other:
    os.waitpid(other, 0)
os._exit(0)
"""


@pytest.mark.timeout(120)
def test_a_row_sharded_over_two_processes_is_normalised_as_a_whole() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.count("all right") == 2, done.stdout + done.stderr
