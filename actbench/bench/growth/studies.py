"""Studies of more and more tiny runs by `actbench study run`, and `actbench runs list` with more and more runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from actbench.bench.growth import command, fits
from actbench.bench.growth.command import Line
from actbench.store import list_runs
from actbench.store.atomic import write_json

MODULE = "actbench"
STEPS = 20
RUNS_BEGIN, REPORT_BEGINS = re.compile(r"finished runs: \d+; tasks to do: \d+$"), re.compile(r"writing .*report\.html$")


@dataclass(frozen=True)
class StudyPoint:
    """A study of so many runs, in seconds.

    whole: of the command. start: until the first run begins. a_run: from then to the report, divided by the runs.
    first_step, other_steps: of that, training, the mean over the runs. report: from the last run to the end.
    """

    runs: int
    whole: float
    start: float
    a_run: float
    first_step: float
    other_steps: float
    report: float

    @property
    def overhead(self) -> float:
        """Of a run, what is no training step: its process, planning, building, validating, saving."""
        return self.a_run - self.first_step - self.other_steps

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "runs": self.runs,
            "seconds": self.whole,
            "start_seconds": self.start,
            "run_seconds": self.a_run,
            "first_step_seconds": self.first_step,
            "other_steps_seconds": self.other_steps,
            "overhead_seconds": self.overhead,
            "report_seconds": self.report,
        }


@dataclass(frozen=True)
class ListPoint:
    """`actbench runs list` in a folder with so many runs: seconds of the command."""

    runs: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"runs": self.runs, "seconds": self.seconds}


@dataclass(frozen=True)
class Studies:
    """What happens when there are more runs."""

    points: tuple[StudyPoint, ...]
    listed: tuple[ListPoint, ...]

    @property
    def line(self) -> fits.Line:
        """Through the seconds of the whole studies."""
        return fits.line([point.runs for point in self.points], [point.whole for point in self.points])

    @property
    def list_line(self) -> fits.Line:
        """Through the seconds of listing."""
        return fits.line([point.runs for point in self.listed], [point.seconds for point in self.listed])

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "points": [point.to_json() for point in self.points],
            "line": self.line.to_json(),
            "listed": [point.to_json() for point in self.listed],
            "list_line": self.list_line.to_json(),
        }


def write_study(folder: Path, runs: int, text: Path, compiled: str = "auto") -> Path:
    """A study file whose runs differ in their seeds, with its recipe beside it: a GPT of two layers, 20 steps."""
    write_json(
        folder / "recipe.yaml",  # JSON is YAML
        {
            "name": "tiny",
            "model": {"family": "gpt", "n_layers": 2, "d_model": 64, "n_heads": 2, "d_ff": 256, "dropout": 0.0},
            "corpus": {"source": "files", "files": [str(text)]},
            "tokenizer": {"kind": "byte_bpe", "vocab_size": 1024},
            "batch": {"sequences": 8, "length": 64},
            "budget": {"steps": STEPS},
            "validation": {"sequences": 16},
            "hardware": {"compile": compiled},
            "logging": {"every_steps": 1},
        },
    )
    experiment = {"recipe": "recipe.yaml", "axes": {"seed": list(range(runs))}}
    path = folder / f"study-{runs}.yaml"
    write_json(path, {"name": f"study-{runs}", "title": "Tiny runs", "experiments": [experiment]})
    return path


def measure(study: Path, runs: int, folder: Path, environment: Mapping[str, str]) -> StudyPoint:
    """Runs the study into the empty `folder`. Raises CommandFailed."""
    lines = command.run(MODULE, ["study", "run", str(study), "--runs", str(folder)], environment)
    steps = [[row["seconds"] for row in run.metrics() if row["kind"] == "train"] for run in list_runs(folder)]
    return _point(runs, lines, steps)


def _point(runs: int, lines: Sequence[Line], steps: Sequence[Sequence[float]]) -> StudyPoint:
    """From what the command said when, and the seconds of training after each step of each run."""
    begin = next(line.seconds for line in lines if RUNS_BEGIN.match(line.text))
    report = next(line.seconds for line in lines if REPORT_BEGINS.match(line.text))
    whole = lines[-1].seconds
    first_step = mean(seconds[0] for seconds in steps)
    return StudyPoint(
        runs=runs,
        whole=whole,
        start=begin,
        a_run=(report - begin) / runs,
        first_step=first_step,
        other_steps=mean(seconds[-1] for seconds in steps) - first_step,
        report=whole - report,
    )


def measure_list(source: Path, runs: int, folder: Path, environment: Mapping[str, str]) -> ListPoint:
    """`actbench runs list` in `folder`, filled up to so many copies of what it reads of a run in `source`."""
    model = list_runs(source)[0].folder
    for number in range(runs):
        copy = folder / f"run-{number:06d}"
        if not copy.exists():
            copy.mkdir(parents=True)
            for name in ("run.json", "manifest.json"):
                shutil.copy(model / name, copy)
    lines = command.run(MODULE, ["runs", "list", "--runs", str(folder), "--json"], environment)
    return ListPoint(runs, lines[-1].seconds)
