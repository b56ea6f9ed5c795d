"""The measurements as tables: a row a size."""

from __future__ import annotations

from collections.abc import Sequence

from actbench.bench.growth import sentences
from actbench.bench.growth.axes import Axis
from actbench.bench.growth.fits import Exponents
from actbench.bench.growth.packer import LENGTH, SEQUENCES
from actbench.bench.growth.studies import Studies
from actbench.bench.growth.texts import Texts
from actbench.report.numbers import NOTHING
from actbench.report.table import Column, Row, Table

UNITS = {"width": "d_model", "depth": "layers", "length": "tokens in a sequence", "batch": "sequences in a step"}


def exponents_table(axes: Sequence[Axis]) -> Table:
    """By which power of each size time, FLOPs and memory grow."""
    titles = ("size", "from", "to", "time", "its last doubling", "FLOPs", "their last", "memory", "its last")
    rows = tuple(
        _row(
            UNITS[axis.name],
            f"{axis.values[0]}",
            f"{axis.values[-1]}",
            *(
                sentences.power(value)
                for found in (axis.time, axis.flops, axis.memory)
                for value in (found.whole, found.last)
            ),
        )
        for axis in axes
    )
    return Table("A training step: the power of each size by which it grows", _columns(titles), rows)


def axis_table(axis: Axis) -> Table:
    """A row a size, with the powers from the row above it."""
    titles = (
        *(
            UNITS[axis.name],
            "ms a step",
            "GFLOP a step",
            "GFLOP/s",
            "weights and optimiser",
            "all tensors, at the peak",
        ),
        *("time grows by", "FLOPs by", "memory by"),
    )
    rows = []
    for i, point in enumerate(axis.points):
        low, high = (_digits(1000 * value) for value in point.quartiles)
        gflop = point.shape.flops / 1e9
        rows.append(
            _row(
                f"{point.value}",
                f"{_digits(1000 * point.median)} [{low}, {high}]",
                f"{gflop:.3g}",
                f"{gflop / point.median:.3g}",
                f"{point.held_bytes / 1e6:.3g} MB",
                f"{point.peak_bytes / 1e6:.3g} MB",
                *(_from_above(found, i) for found in (axis.time, axis.flops, axis.memory)),
            )
        )
    return Table(f"A training step against its {axis.name}", _columns(titles), tuple(rows), sentences.of_axis(axis))


def text_table(texts: Texts) -> Table:
    """A row a text, with the tokenizer learnt from it and with a ready one."""
    titles = (
        *("MB of text", "tokens", "packing: s", "µs a token", "peak memory"),
        *("with a ready tokenizer: s", "µs a token", "peak memory", "first batch: ms", "later ones: µs a token"),
    )
    rows = tuple(
        _row(
            f"{point.size / 1e6:.3g}",
            f"{point.learnt.tokens:,}",
            *(
                cell
                for packing in (point.learnt, point.given)
                for cell in (
                    f"{packing.seconds:.3g}",
                    f"{1e6 * packing.seconds / packing.tokens:.3g}",
                    f"{packing.peak_bytes / 1e6:.0f} MB",
                )
            ),
            f"{1000 * point.given.first_batch:.3g}",
            f"{1e6 * point.given.batch / (LENGTH * SEQUENCES):.3g}",
        )
        for point in texts.points
    )
    return Table("Tokenising and packing against the text's size", _columns(titles), rows, sentences.of_texts(texts))


def study_table(studies: Studies) -> Table:
    """A row a study."""
    titles = (
        *("runs", "study: s", "until the first run: s", "a run: s"),
        *("of it the first step", "the other steps", "all else", "report: s"),
    )
    rows = tuple(
        _row(
            f"{point.runs}",
            *(
                f"{seconds:.3g}"
                for seconds in (
                    *(point.whole, point.start, point.a_run),
                    *(point.first_step, point.other_steps, point.overhead, point.report),
                )
            ),
        )
        for point in studies.points
    )
    return Table("A study against its number of runs", _columns(titles), rows, sentences.of_studies(studies))


def list_table(studies: Studies) -> Table:
    """A row a number of runs."""
    rows = tuple(_row(f"{point.runs:,}", f"{point.seconds:.2f}") for point in studies.listed)
    titles = ("runs in the folder", "runs list: s")
    return Table("Listing runs", _columns(titles), rows, sentences.of_list(studies))


def _columns(titles: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(title, numeric=number > 0) for number, title in enumerate(titles))


def _row(*cells: str) -> Row:
    return Row(cells, {}, ())


def _from_above(found: Exponents, row: int) -> str:
    return sentences.power(found.steps[row - 1]) if row else NOTHING


def _digits(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
