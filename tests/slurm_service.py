"""A real Slurm of one node, for tests: its own folder, ports and processes, nothing in /etc, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""


def missing() -> str:
    """Why no Slurm can be started here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "starting Slurm needs root"


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Starts it in `folder` and yields the environment in which Slurm's commands, and submitit, find it."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    configuration = folder / "slurm.conf"
    ports = _free_ports()
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0], folder=folder, controller_port=ports[0], node_port=ports[1]
        )
    )
    environment = {"SLURM_CONF": str(configuration), "PATH": _PATH}
    key = folder / "munge.key"
    _call(environment, "mungekey", "--create", "--keyfile", key)
    files = [f"--{kind}={folder}/munge.{name}" for kind, name in _MUNGE_FILES.items()]
    commands = [("munged", "--foreground", "--force", *files), ("slurmctld", "-D"), ("slurmd", "-D")]
    with contextlib.ExitStack() as running:
        for command in commands:
            running.enter_context(_service(environment, folder, *command))
            if command[0] == "munged":
                _wait_for("munge's socket", (folder / "munge.socket").exists)
        _wait_for("an idle node", lambda: "idle" in _call(environment, "sinfo", "--noheader", "--format=%T"))
        yield environment


_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_MUNGE_FILES = {
    "key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed",
}  # fmt: skip


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _call(environment: dict[str, str], *command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], env={**os.environ, **environment}, capture_output=True, text=True
    )
    return done.stdout


@contextlib.contextmanager
def _service(environment: dict[str, str], folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("w") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(what: str, condition: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
