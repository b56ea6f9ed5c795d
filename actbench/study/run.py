"""Runs a study: one job after the other, each in a process of its own, then the report."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actbench.data.probes import probes_for
from actbench.errors import ActbenchError, Interrupted
from actbench.evaluation.load import recipe_of
from actbench.report.page import StudyText, write_report
from actbench.store import Run
from actbench.study.file import Job, LoadedStudy, ProbesFollowUp
from actbench.training.finetune_plan import FinetunePlan, plan_finetuning
from actbench.training.plan import plan

Say = Callable[[str], None]

# The server imports these once and forks a clean process for each job: no job pays for imports, none sees another's
# memory, threads or compiled code.
PRELOADED = ["actbench.training.pretrain", "actbench.training.finetune"]


@dataclass
class Outcome:
    """What became of a study's runs."""

    report: Path
    finished: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # run: reason

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        return {"report": str(self.report), "finished": self.finished, "failed": self.failed}


def run_study(loaded: LoadedStudy, runs: Path, say: Say) -> Outcome:
    """Trains what is not finished yet, in order, and writes the report into `runs`/<study name>.

    A failed run does not stop the others. Raises Interrupted when the user stops it; calling again goes on.
    """
    study = loaded.study
    outcome = Outcome(runs / study.name / "report.html")
    finished: list[Run] = []
    for number, job in enumerate(loaded.jobs, start=1):
        planned = plan(job.recipe, runs, _quiet(say))
        run = Run(planned.folder)
        if run.manifest is None:
            say(f"[{number}/{len(loaded.jobs)}] {run.id}")
            reason = _in_process(_pretrain, job, runs)
            run = Run(planned.folder)
            if run.manifest is None:
                outcome.failed[run.id] = reason
                say(f"{run.id} failed: {reason}")
                continue
        finished.append(run)
        if job.probes:
            finished += _follow_up(run, job.probes, runs, outcome)
    outcome.finished = len(finished)
    if finished:
        say(f"writing {outcome.report}")
        write_report(outcome.report.parent, StudyText(study.title, study.about), finished, study.baseline)
    return outcome


def _follow_up(run: Run, probes: ProbesFollowUp, runs: Path, outcome: Outcome) -> list[Run]:
    """Fine-tunes a finished run; notes what failed in `outcome` and returns what finished."""
    plans = _probe_plans(run, probes, runs)
    reason = ""
    if not all(planned.run.manifest for planned in plans):
        reason = _in_process(_finetune, run.folder, probes, runs)
    done = [planned.run for planned in plans if planned.run.manifest]
    for planned in plans:
        if planned.run.manifest is None:
            outcome.failed[planned.run.id] = planned.run.failure or reason or "not reached"
    return done


def _probe_plans(run: Run, probes: ProbesFollowUp, runs: Path) -> list[FinetunePlan]:
    tasks = probes_for(recipe_of(run)).values()
    return plan_finetuning(run, tasks, probes.seeds, probes.settings, runs)


def _pretrain(job: Job, runs: Path) -> None:
    from actbench.training.pretrain import pretrain

    pretrain(plan(job.recipe, runs, _silent), resume=True, say=_silent)


def _finetune(parent: Path, probes: ProbesFollowUp, runs: Path) -> None:
    from actbench.training.finetune import finetune

    for _ in finetune(_probe_plans(Run(parent), probes, runs), _tell):
        pass


def _in_process(work: Callable[..., None], *arguments: Any) -> str:
    """Runs `work` in a new process. Returns why it failed, or nothing. Raises Interrupted when it was stopped."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_guarded, args=(sender, work, arguments))
    stops: list[int] = []

    def stop(number: int, frame: Any) -> None:
        stops.append(number)
        process.terminate()  # the job saves its state and ends

    process.start()
    sender.close()
    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        reason = _message(process, receiver)
        process.join()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if stops:
        raise Interrupted(stops[0], "study stopped; the same command goes on from here")
    if process.exitcode and not reason:
        reason = f"the process ended with {_ended_by(process.exitcode)}"
    return reason


def _message(process: Any, receiver: Any) -> str:
    """What the job has to say before it ends: why it failed, or nothing."""
    while process.is_alive() and not receiver.poll(0.2):
        pass
    try:
        return str(receiver.recv()) if receiver.poll(0) else ""
    except EOFError:  # it ended without a word
        return ""


def _guarded(sender: Any, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the study passes it on as SIGTERM
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(*arguments)
    except Interrupted as error:
        raise SystemExit(error.exit_code) from None
    except ActbenchError as error:
        sender.send(str(error))
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
        raise


def _end_with_parent() -> None:
    """A job outlives no study: should that be killed, the job saves and stops."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _ended_by(exit_code: int) -> str:
    return f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"


def _quiet(say: Say) -> Say:
    """Only what takes time is worth a line: 'packing ...' and its like, not what was found ready."""
    return lambda message: say(message) if "packing" in message else None


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _silent(message: str) -> None:
    pass
