"""What a training step costs: as tables, as a section of a Markdown page, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actbench.bench import machine
from actbench.bench.step.clock import Seconds
from actbench.bench.step.kernels import Breakdown, Kernel
from actbench.report.numbers import NOTHING, count
from actbench.report.table import Column, Row, Table, markdown
from actbench.training.peak import Peak

SLOWEST = 10  # kernels shown
LEAST = 0.0005  # the share below which a class is not shown
HEAD, TAIL = 44, 12  # characters of a long name that a table shows of each end; JSON has it whole
PARTS_READING = (
    "Median over the steps, in brackets its quartiles; a part's share is that of all steps' time. Forward includes the "
    "loss; the optimiser's part clips the gradient's norm, and lets go of the last step's gradients. The rest is what "
    "Lightning and keying dropout take."
)
KERNELS_READING = (
    "Shares of a few more steps under PyTorch's profiler, which makes everything a little slower: a share is a share, "
    "absolute times are those above. Between kernels stands Python, and what leads from one kernel to the next."
)


@dataclass(frozen=True)
class Memory:
    """Bytes: weights and optimiser state; all tensors at the peak of a step; the process at its largest so far."""

    held: int
    tensors: int
    process: int


@dataclass(frozen=True)
class Results:
    """The step, what it was measured on, and what makes the numbers less sure."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    name: str  # the recipe's
    model: dict[str, Any]
    hardware: dict[str, Any]
    tokens: int  # in a step
    first_step: float  # seconds from the command's start to the end of the first step
    whole: Seconds
    parts: dict[str, Seconds]
    memory: Memory
    peak: Peak
    breakdown: Breakdown
    warnings: tuple[str, ...]

    @property
    def command(self) -> str:
        """The words after `actbench bench`: a page has a place for each recipe."""
        return f"step {self.name}"

    @property
    def failed(self) -> tuple[str, ...]:
        """Nothing fails alone: an error ends the command."""
        return ()

    @property
    def tokens_per_second(self) -> float:
        """By the median step."""
        return self.tokens / self.whole.median

    @property
    def flops(self) -> float:
        """The model's FLOP/s: its matrix products, forward and backward, by the median step."""
        return self.tokens_per_second * float(self.model["flops_per_token"])

    @property
    def utilisation(self) -> float:
        """Model-FLOPs utilisation (Chowdhery et al. 2022, appendix B): the share of the peak that `flops` is."""
        return self.flops / self.peak.flops

    def to_json(self) -> dict[str, Any]:
        """JSON data; benchmarks/README.md says what it means."""
        return {
            "benchmark": "step",
            "machine": self.machine,
            "settings": self.settings,
            "recipe": self.name,
            "model": self.model,
            "hardware": self.hardware,
            "seconds": {"step": self.whole.to_json(), **{name: part.to_json() for name, part in self.parts.items()}},
            "first_step_seconds": self.first_step,
            "tokens_per_step": self.tokens,
            "tokens_per_second": self.tokens_per_second,
            "tflops": self.flops / 1e12,
            "peak": self.peak.to_json(),
            "utilisation": self.utilisation,
            "memory_bytes": {
                "weights_and_optimiser": self.memory.held,
                "tensors": self.memory.tensors,
                "process": self.memory.process,
            },
            "shares": self.breakdown.shares,
            "profiled_step_seconds": self.breakdown.step_seconds,
            "kernels": [kernel.to_json() for kernel in self.breakdown.kernels],
            "warnings": self.notes(),
        }

    def notes(self) -> list[str]:
        """What makes the numbers less sure."""
        notes = list(self.warnings)
        if self.utilisation > 1:
            notes.append("the step was faster than the peak: state a higher one, or run again on an idle machine")
        return notes

    def facts(self) -> Table:
        """Speed, utilisation and memory."""
        rows = {
            "tokens a second": f"{self.tokens_per_second:,.0f}",
            "model FLOPs a token": count(float(self.model["flops_per_token"])),
            "model FLOP/s": f"{self.flops / 1e12:.3g} T",
            "model-FLOPs utilisation": f"{100 * self.utilisation:.1f} % of {self.peak.sentence()}",
            "memory: weights and optimiser": _megabytes(self.memory.held),
            "memory: all tensors, at the peak": _megabytes(self.memory.tensors),
            "memory: the process, at the peak": _megabytes(self.memory.process),
            "until the first step is done": f"{self.first_step:.1f} s, with imports, data and compiling",
        }
        return Table(self._title(), (Column("quantity"), Column("value")), tuple(_row(*row) for row in rows.items()))

    def times(self) -> Table:
        """The step and its parts."""
        rows = tuple(
            _row(name, f"{_milliseconds(part)}", f"{100 * part.share:.1f} %")
            for name, part in {**self.parts, "whole step": self.whole}.items()
        )
        columns = (Column("part of a step"), Column("milliseconds", numeric=True), Column("share", numeric=True))
        return Table("Where the time of a step goes", columns, rows, (PARTS_READING,))

    def classes(self) -> Table:
        """The shares of the kernels' classes that are not nothing."""
        shares = sorted(self.breakdown.shares.items(), key=lambda item: -item[1])
        rows = tuple(_row(kind, _percent(share)) for kind, share in shares if share >= LEAST)
        columns = (Column("class of kernels"), Column("share of the step", numeric=True))
        return Table("The same by class of kernels", columns, rows, (KERNELS_READING,))

    def slowest(self) -> Table:
        """The kernels that take most."""
        rows = tuple(_kernel_row(kernel) for kernel in self.breakdown.kernels[:SLOWEST])
        titles = ("kernel", "class", "part", "calls a step", "share of the step")
        columns = tuple(Column(title, numeric=number > 2) for number, title in enumerate(titles))
        return Table("The slowest kernels", columns, rows)

    def tables(self) -> list[Table]:
        """All of them, in the order of reading."""
        return [self.facts(), self.times(), self.classes(), self.slowest()]

    def to_text(self, width: int) -> str:
        """For a terminal of that width."""
        warnings = "".join(f"- Warning: {warning}.\n" for warning in self.notes())
        return "\n".join(table.to_text(width) for table in self.tables()) + warnings

    def to_markdown(self) -> str:
        """Where and how it was measured, and the tables."""
        how = f"{self.settings['steps']} steps after {self.settings['warm_up']} to warm up"
        tables = [table.to_markdown() for table in self.tables()]
        warnings = [f"- {markdown(f'Warning: {warning}.')}\n" for warning in self.notes()]
        return "\n".join([machine.sentence(self.machine, how), *tables, *warnings])

    def _title(self) -> str:
        compiled = "compiled" if self.hardware["compiled"] else "without a compiler"
        size = f"{count(self.model['parameters'])} parameters, {self.settings['batch']} tokens a step"
        return f"{self.name}: {size}, {self.hardware['precision']}, {compiled}"


def _row(*cells: str) -> Row:
    return Row(cells, {}, ())


def _kernel_row(kernel: Kernel) -> Row:
    name = kernel.name.replace("cpp_fused_", "")
    short = name if len(name) <= HEAD + TAIL else f"{name[:HEAD]}...{name[-TAIL:]}"
    return _row(short, kernel.kind, kernel.part or NOTHING, f"{kernel.calls:.4g}", _percent(kernel.share))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _milliseconds(seconds: Seconds) -> str:
    times = (1000 * value for value in (seconds.median, *seconds.quartiles))
    middle, low, high = (f"{time:,.0f}" if time >= 100 else f"{time:.3g}" for time in times)
    return f"{middle} [{low}, {high}]"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
