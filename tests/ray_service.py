"""A real Ray cluster of two nodes on this machine, in a process of its own: run it, and talk to it by lines.

It prints its address, then obeys: "lose" kills the second node at once, the end of input ends the cluster.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def missing() -> str:
    """Why no Ray can be started here, or nothing."""
    return "" if importlib.util.find_spec("ray") else "no ray: pip install actbench[ray]"


class Cluster:
    """The process, as a test sees it."""

    def __init__(self, process: subprocess.Popen[str]):
        assert process.stdin and process.stdout
        self._input, self._output = process.stdin, process.stdout
        self.address = self._answer()

    def lose_a_node(self) -> None:
        """Kills the second node and all that runs on it."""
        print("lose", file=self._input, flush=True)
        assert self._answer() == "lost"

    def _answer(self) -> str:
        for line in self._output:  # Ray may print lines of its own
            if line.startswith("> "):
                return line[2:].strip()
        raise RuntimeError("the cluster's process ended")


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[Cluster]:
    """Starts it, its logs in `folder`, and ends it."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "/tmp"}
    with (folder / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    try:
        yield Cluster(process)
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve() -> None:
    from ray.cluster_utils import Cluster as RayCluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = RayCluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = cluster.add_node(**node)
    cluster.wait_for_nodes()
    print("> " + cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "lose":
            cluster.remove_node(second, allow_graceful=False)
            print("> lost", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
