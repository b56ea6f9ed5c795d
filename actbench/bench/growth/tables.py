"""The measurements as tables: a row a size."""

from __future__ import annotations

from collections.abc import Sequence

from actbench.bench.growth import sentences
from actbench.bench.growth.axes import Axis
from actbench.bench.growth.fits import Exponents
from actbench.bench.growth.packer import LENGTH, SEQUENCES
from actbench.bench.growth.sentences import number
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
        low, high = (number(1000 * value) for value in point.quartiles)
        gflop = point.shape.flops / 1e9
        rows.append(
            _row(
                f"{point.value}",
                f"{number(1000 * point.median)} [{low}, {high}]",
                number(gflop),
                number(gflop / point.median),
                f"{number(point.held_bytes / 1e6)} MB",
                f"{number(point.peak_bytes / 1e6)} MB",
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
            number(point.size / 1e6),
            f"{point.learnt.tokens:,}",
            *(
                cell
                for packing in (point.learnt, point.given)
                for cell in (
                    number(packing.seconds),
                    number(1e6 * packing.seconds / packing.tokens),
                    f"{packing.peak_bytes / 1e6:.0f} MB",
                )
            ),
            number(1000 * point.given.first_batch),
            number(1e6 * point.given.batch / (LENGTH * SEQUENCES)),
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
                number(seconds)
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
    return tuple(Column(title, numeric=place > 0) for place, title in enumerate(titles))


def _row(*cells: str) -> Row:
    return Row(cells, {}, ())


def _from_above(found: Exponents, row: int) -> str:
    return sentences.power(found.steps[row - 1]) if row else NOTHING
