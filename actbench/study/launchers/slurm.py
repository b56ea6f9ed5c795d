"""A Slurm cluster, through submitit: the pre-trainings as one job array, each follow-up as a job of its own.

What submitit writes, `slurm/<job id>_...` in the study's folder, says which jobs are the study's: task, log and result.
The queue says which of them still live. So a study that is started again takes its jobs up where they are.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from actbench.config.yaml_source import parse_value
from actbench.errors import BadInput, Interrupted, Problem, RunFailed
from actbench.study.launchers import check_options
from actbench.study.tasks import Task, perform
from actbench.training.hardware import use_threads

if TYPE_CHECKING:
    from submitit import SlurmExecutor
    from submitit.core.utils import JobPaths
    from submitit.helpers import DelayedSubmission

DEFAULTS: dict[str, Any] = {
    "time": 240,
    "signal_delay_s": 90,
    "array_parallelism": 256,
    "max_num_timeout": 1000,
    "keep_jobs": False,
    "additional_parameters": {},
}
OPTIONS = (
    "account", "comment", "constraint", "cpus_per_gpu", "cpus_per_task", "exclude", "exclusive", "gpus_per_node",
    "gpus_per_task", "gres", "mail_type", "mail_user", "mem", "mem_per_cpu", "mem_per_gpu", "nodelist", "partition",
    "qos", "setup", "srun_args", "teardown", "wckey", *DEFAULTS,
)  # fmt: skip
KINDS = {bool: "true or false", int: "a number", dict: "a mapping"}
LISTS = ("setup", "teardown", "srun_args")
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
LARGEST_ARRAY = 1000  # Slurm's own limit is 1001 unless the cluster's says otherwise
LOOK_S, QUEUE_S = 0.5, 10.0  # from one look for results to the next, and from one at the queue to the next
OPENING_S, AGAIN_S = 20.0, 3.0  # for so long it may not answer at the start, asked again so often: it may be restarting
SILENT_S = 900.0  # for so long it may not answer later


def open_launcher(runs: Path, folder: Path, options: dict[str, str]) -> SlurmLauncher:
    """Its options are submitit's, which are called as sbatch's, and `max_num_timeout` and `keep_jobs`.

    Raises BadInput for another option, or where submitit or Slurm is not there or its controller does not answer.
    """
    try:
        from submitit import SlurmExecutor
    except ImportError:
        raise BadInput(Problem("submitit is not installed", "--launcher slurm", hint="pip install submitit")) from None
    check_options(options, OPTIONS)
    values = DEFAULTS | {key: _value(key, text) for key, text in options.items()}
    keep_jobs, timeouts = values.pop("keep_jobs"), values.pop("max_num_timeout")
    name = f"actbench-{folder.name}"
    try:
        executor = SlurmExecutor(folder.resolve() / "slurm", max_num_timeout=timeouts)
    except RuntimeError:
        raise BadInput(Problem("no Slurm on this machine: there is no srun", "--launcher slurm")) from None
    executor.update_parameters(**_parameters(values), job_name=name)
    return SlurmLauncher(runs.resolve(), executor, Queue(name), keep_jobs)


def _value(key: str, text: str) -> Any:
    """An option's value: YAML, but for a time, which is minutes or as Slurm writes it."""
    if key == "time":
        return _minutes(text)
    try:
        value = parse_value(text)
    except BadInput as error:
        raise BadInput(Problem(error.problems[0].message, f"--launcher-set {key}={text}")) from None
    kind = type(DEFAULTS.get(key))
    if key in DEFAULTS and type(value) is not kind:
        raise BadInput(Problem(f"'{text}' is not {KINDS[kind]}", f"--launcher-set {key}={text}"))
    if key in LISTS:
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    return value


def _minutes(text: str) -> int:
    """[days-]hours[:minutes[:seconds]], minutes or minutes:seconds, as sbatch takes them; rounded up."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        hint = "minutes, or as in 1-12:00:00"
        raise BadInput(Problem(f"'{text}' is not a time", f"--launcher-set time={text}", hint=hint))
    days, *parts = (int(part) if part is not None else None for part in match.groups())
    if days is None and parts[2] is None:
        parts = [0, *parts[:2]]
    hours, minutes, seconds = (part or 0 for part in parts)
    return max(1, 24 * 60 * (days or 0) + 60 * hours + minutes + (seconds > 0))


def _parameters(values: dict[str, Any]) -> dict[str, Any]:
    """What submitit is given: jobs that Slurm may requeue, and steps with as many cores as the job."""
    extra = {"requeue": True, **values.pop("additional_parameters", {})}
    if "cpus_per_gpu" not in values:
        cpus = values.setdefault("cpus_per_task", 1)
        values["srun_args"] = [f"--cpus-per-task={cpus}", *values.get("srun_args", [])]  # since 22.05 not inherited
    return {**values, "additional_parameters": extra}


@dataclass(frozen=True)
class Work:
    """What a job does. submitit requeues a job whose work has a `checkpoint`."""

    task: Task
    runs: Path

    def __call__(self) -> str:
        """Performs the task; returns why it failed, or "". A signal first saves its state, then ends the process.

        Slurm sends SIGTERM before it takes the node away, and submitit has it send SIGUSR2 before the time is up. In
        either case the job goes back into the queue, unless Slurm is ending or requeuing it already.
        """
        requeue: Any = signal.getsignal(signal.SIGUSR2)  # submitit's handler

        def leave(number: int, frame: Any = None) -> NoReturn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm repeats itself
            if number == signal.SIGTERM and _is_running(os.environ["SLURM_JOB_ID"]):
                requeue(signal.SIGUSR2)
            raise SystemExit(128 + number)

        signal.signal(signal.SIGTERM, leave)  # until training listens
        signal.signal(signal.SIGUSR2, lambda number, frame: signal.raise_signal(signal.SIGTERM))
        use_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", 0)) or len(os.sched_getaffinity(0)))
        try:
            return perform(self.task, self.runs)
        except Interrupted as stopped:
            leave(stopped.signal_number)

    def checkpoint(self) -> DelayedSubmission:
        """What the requeued job does: the same, from the saved state."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _is_running(job: str) -> bool:
    command = ["squeue", "--noheader", f"--job={job}", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "RUNNING"


class Queue:
    """This user's jobs of one name, as Slurm knows them."""

    def __init__(self, name: str):
        self.name = name
        self._answered = time.monotonic()

    def states(self) -> dict[str, str] | None:
        """Each job's state, also of those that ended minutes ago. None while Slurm is busy or restarting.

        Raises RunFailed when it is silent for long.
        """
        try:
            return self._ask()
        except _Silent as silent:
            if time.monotonic() > self._answered + SILENT_S:
                again = "the same command takes its jobs up again"
                raise RunFailed(f"Slurm does not answer: {silent}; {again}") from None
            return None

    def first_states(self) -> dict[str, str]:
        """The same before there is anything to lose. Raises BadInput when Slurm is silent for OPENING_S."""
        end = time.monotonic() + OPENING_S
        while True:
            try:
                return self._ask(end - time.monotonic())
            except _Silent as silent:
                if time.monotonic() + AGAIN_S >= end:
                    hint = "`squeue` must answer here: is slurmctld up, and does SLURM_CONF name its slurm.conf?"
                    raise BadInput(Problem(f"Slurm does not answer: {silent}", "--launcher slurm", hint=hint)) from None
            time.sleep(AGAIN_S)

    def _ask(self, seconds: float | None = None) -> dict[str, str]:
        """What squeue says, within so many seconds. Raises _Silent with what it complains of."""
        which = [f"--user={os.getuid()}", f"--name={self.name}", "--array", "--states=all"]
        command = ["squeue", "--noheader", "--format=%i %T", *which]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise _Silent(f"squeue waited {seconds:.0f} s in vain") from None
        if done.returncode:
            raise _Silent("; ".join(done.stderr.strip().splitlines()) or f"squeue ended with {done.returncode}")
        self._answered = time.monotonic()
        return dict(line.split() for line in done.stdout.splitlines())


class _Silent(Exception):
    """Slurm's controller does not answer."""


class SlurmLauncher:
    """Submits each call's tasks as one array. The jobs outlive this process, unless Ctrl-C stops it."""

    def __init__(self, runs: Path, executor: SlurmExecutor, queue: Queue, keep_jobs: bool):
        self.runs, self.executor, self.queue, self.keep_jobs = runs, executor, queue, keep_jobs
        self.jobs: dict[str, Task] = {}  # by job id
        self._former = self._living()
        self._looked = 0.0
        self._missed: set[str] = set()  # jobs that had ended without a result at the last look at the queue

    def submit(self, tasks: Sequence[Task]) -> None:
        """See Launcher. What a living job of this study does, perhaps in part by now, is not submitted again."""
        new = []
        for task in tasks:
            former = next((ids for ids in self._former if not set(ids).isdisjoint(task.run_ids)), None)
            if former is None:
                new.append(task)
            else:
                self.jobs[self._former.pop(former)] = task
        for start in range(0, len(new), LARGEST_ARRAY):
            self._submit_array(new[start : start + LARGEST_ARRAY])

    def ended(self) -> list[tuple[Task, str]]:
        """See Launcher."""
        while self.jobs:
            reasons = {job: self._result(job) for job in self.jobs if self._paths(job).result_pickle.exists()}
            if not reasons and time.monotonic() > self._looked + QUEUE_S:
                reasons = self._without_result()
            if reasons:
                return [(self.jobs.pop(job), reason) for job, reason in reasons.items()]
            time.sleep(LOOK_S)
        return []

    def stop(self, signal_number: int) -> None:
        """After Ctrl-C, and without `keep_jobs`: all jobs save their state and end. Else they go on without us."""
        if signal_number != signal.SIGINT or self.keep_jobs:
            return
        self._cancel("--state=PENDING")  # first: else the end of one job starts the next
        self._cancel("--state=RUNNING", "--signal=INT")
        end = time.monotonic() + self.executor.parameters["signal_delay_s"]
        while self.jobs and time.monotonic() < end:
            self._cancel("--state=PENDING")  # those that were on their way back into the queue
            states = self.queue.states()
            if states is not None:
                self.jobs = {job: task for job, task in self.jobs.items() if states.get(job, "COMPLETED") not in ENDED}
            time.sleep(LOOK_S)
        self._cancel()
        self.jobs.clear()

    def _living(self) -> dict[tuple[str, ...], str]:
        """The study's jobs that another process submitted and that have not ended: run ids, and the job's own."""
        from submitit.helpers import DelayedSubmission

        found = {}
        for job, state in self.queue.first_states().items():
            pickle = self._paths(job).submitted_pickle
            if state not in ENDED and pickle.exists():
                try:
                    found[DelayedSubmission.load(pickle).function.task.run_ids] = job
                except Exception as error:
                    problem = f"job {job} of this study was submitted by another version of actbench ({error})"
                    raise BadInput(Problem(problem, hint=f"scancel {job}, or wait for it")) from None
        return found

    def _submit_array(self, tasks: Sequence[Task]) -> None:
        from submitit.core.utils import FailedJobError

        try:
            jobs = self.executor.submit_array([Work(task, self.runs) for task in tasks])
        except FailedJobError as error:
            raise BadInput(Problem(f"sbatch: {str(error).strip().splitlines()[-1]}", "--launcher slurm")) from None
        self.jobs |= {job.job_id: task for job, task in zip(jobs, tasks, strict=True)}

    def _result(self, job: str) -> str:
        from submitit.core.utils import pickle_load

        outcome, said = pickle_load(self._paths(job).result_pickle)
        if outcome == "success":
            return f"{said} ({self._where(job)})" if said else ""
        return f"{said.strip().splitlines()[-1]} ({self._where(job)})"

    def _without_result(self) -> dict[str, str]:
        """Jobs that ended without a word. Two looks must agree: a shared folder may show a result late."""
        states = self.queue.states()
        self._looked = time.monotonic()
        if states is None:
            return {}
        dead = {job for job in self.jobs if states.get(job, "COMPLETED") in ENDED}
        sure, self._missed = dead & self._missed, dead
        again = [job for job in sure if states.get(job) == "PREEMPTED"]  # where preemption cancels instead of requeuing
        self.submit([self.jobs.pop(job) for job in again])
        return {job: self._last_words(job, states.get(job, "long ago")) for job in sure - set(again)}

    def _last_words(self, job: str, state: str) -> str:
        log = self._paths(job).stderr
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        last = next((line for line in reversed(lines) if line.strip()), "nothing was written")
        return f"the job ended: {state}; {last.strip()} ({self._where(job)})"

    def _paths(self, job: str) -> JobPaths:
        from submitit.core.utils import JobPaths

        return JobPaths(self.executor.folder, job_id=job)

    def _where(self, job: str) -> str:
        return f"job {job}, log: {self._paths(job).stderr}"

    def _cancel(self, *which: str) -> None:
        if self.jobs:
            subprocess.run(["scancel", "--quiet", *which, *self.jobs], capture_output=True)
