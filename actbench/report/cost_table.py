"""What each activation cost in the runs: speed, memory, arithmetic."""

from __future__ import annotations

from actbench.analysis.comparisons import Comparison, Family
from actbench.analysis.paired import Spread, spread
from actbench.report import numbers
from actbench.report.table import Row, Table, columns

NOTE = (
    "As the runs came, with all else the machine did meanwhile: actbench bench measures what an activation costs, side "
    "by side. Memory is the process's peak on a CPU, what torch held on a GPU. FLOPs count matrix products alone."
)


def cost_table(family: Family) -> Table:
    """A row an activation and model: its pre-training runs' speed, memory and time, beside the baseline's."""
    name = family.baseline
    heads = (
        *columns("model", "activation"),
        *columns("runs", "tokens/s", f"speed × {name}", "peak memory (MB)", f"memory × {name}", numeric=True),
        *columns("FLOPs a token", "time a run", numeric=True),
    )
    rows = tuple(_row(comparison, _baseline(comparison, family)) for comparison in family.pretraining)
    return Table("Speed and memory of pre-training, mean ± sd over runs", heads, rows, (NOTE,), "cost")


def _baseline(comparison: Comparison, family: Family) -> Comparison | None:
    return next((c for c in family.pretraining if c.is_baseline and c.cohort is comparison.cohort), None)


def _row(comparison: Comparison, baseline: Comparison | None) -> Row:
    speed, memory = _spread(comparison, "tokens_per_second"), _spread(comparison, "peak_memory_bytes")
    seconds = _spread(comparison, "seconds")
    flops = float(comparison.variant.first.info["model"]["flops_per_token"])
    faster = None if baseline is None else speed.mean / _spread(baseline, "tokens_per_second").mean
    larger = None if baseline is None else memory.mean / _spread(baseline, "peak_memory_bytes").mean
    cells = (
        comparison.cohort.name,
        comparison.variant.label,
        str(speed.n),
        numbers.mean_and_sd(speed, 0),
        numbers.NOTHING if faster is None else f"{faster:.3f}",
        f"{memory.mean / 1e6:,.0f}",
        numbers.NOTHING if larger is None else f"{larger:.3f}",
        numbers.count(flops),
        numbers.duration(seconds.mean),
    )
    values = {
        "model": comparison.cohort.name,
        "activation": comparison.variant.label,
        "run_count": speed.n,
        "tokens_per_second": {"mean": speed.mean, "sd": speed.sd},
        "speed_ratio": faster,
        "peak_memory_bytes": {"mean": memory.mean, "sd": memory.sd},
        "memory_ratio": larger,
        "flops_per_token": flops,
        "seconds": {"mean": seconds.mean, "sd": seconds.sd},
    }
    return Row(cells, values, comparison.variant.ids)


def _spread(comparison: Comparison, key: str) -> Spread:
    return spread(run.summary[key] for run in comparison.variant.runs.values())
