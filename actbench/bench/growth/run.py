"""`actbench bench growth`: every part asked for, one after the other."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from actbench.bench import machine
from actbench.bench.growth import axes, studies, text, texts
from actbench.bench.growth.axes import Axis
from actbench.bench.growth.command import CommandFailed
from actbench.bench.growth.request import AXES, STUDIES, TEXT, Request
from actbench.bench.growth.results import Results
from actbench.bench.growth.studies import Studies
from actbench.bench.growth.texts import Texts
from actbench.bench.peers.run import environment
from actbench.data import builtin
from actbench.training.hardware import Hardware
from actbench.training.signals import interruptible

Say = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """How large the work is. `documents` gives those that texts are made of, from the first at each call."""

    base: axes.Shape = field(default_factory=axes.Shape)
    axes: dict[str, tuple[int, ...]] = field(default_factory=lambda: dict(axes.SIZES))
    documents: Callable[[], Iterable[str]] | None = None  # None: the builtin corpus
    study_text_bytes: int = 300_000
    listed_runs: tuple[int, ...] = (1, 10, 100, 1000)


def run(request: Request, *, command: str, say: Say, sizes: Sizes | None = None) -> Results:
    """Measures those parts and tells of each as it is done; a part that fails is told, and the others go on.

    Raises BadInput, before anything is measured, when there is no room for the texts.
    """
    sizes = sizes or Sizes()
    if TEXT in request.parts:
        texts.check_room(request.text_bytes)
    hardware, facts = machine.hardware(), machine.facts(command)
    warning = machine.busy(facts)
    if warning:
        say(f"warning: {warning}")
    measuring = _Measuring(request, sizes, hardware, say)
    with interruptible("stopped"):
        for part in request.parts:
            measuring.part(part)
    settings = {
        **request.to_json(),
        "base": {name: getattr(sizes.base, name) for name in (*AXES, "vocabulary")},
    }
    return Results(
        machine=facts,
        settings=settings,
        hardware=hardware.facts(),
        axes=tuple(measuring.axes),
        texts=measuring.texts,
        studies=measuring.studies,
        failed=tuple(measuring.failed),
        warnings=(warning,) if warning else (),
    )


class _Measuring:
    """The parts measured so far."""

    def __init__(self, request: Request, sizes: Sizes, hardware: Hardware, say: Say):
        self.request, self.sizes, self.hardware, self.say = request, sizes, hardware, say
        self.axes: list[Axis] = []
        self.texts: Texts | None = None
        self.studies: Studies | None = None
        self.failed: list[str] = []

    def part(self, name: str) -> None:
        """Measures it, or notes why it failed."""
        try:
            {TEXT: self._texts, STUDIES: self._studies}.get(name, lambda: self._axis(name))()
        except (CommandFailed, RuntimeError) as error:  # torch and its compiler raise the latter, out of memory too
            reason = f"{name}: {str(error).strip().partition(chr(10))[0]}"
            self.failed.append(reason)
            self.say(f"failed: {reason}")

    def _axis(self, name: str) -> None:
        values = self.sizes.axes[name]
        self.say(f"{name}: steps of {', '.join(map(str, values))} in turn")
        axis = axes.measure(name, values, self.sizes.base, rounds=self.request.rounds, hardware=self.hardware)
        self.axes.append(axis)
        self.say(f"{name}: {', '.join(f'{1000 * point.median:.4g}' for point in axis.points)} ms")

    def _texts(self) -> None:
        points = []
        for size in self.request.text_bytes:
            with tempfile.TemporaryDirectory(prefix="actbench-growth-") as folder:
                point = texts.measure(size, self._documents, Path(folder), environment())
            self.say(
                f"text of {point.size / 1e6:.4g} MB: packed in {point.learnt.seconds:.2f} s, "
                f"{point.given.seconds:.2f} s with a ready tokenizer"
            )
            points.append(point)
        self.texts = Texts(tuple(points))

    def _studies(self) -> None:
        with tempfile.TemporaryDirectory(prefix="actbench-growth-") as name:
            folder = Path(name)
            surroundings = {**environment(), "ACTBENCH_CACHE": str(folder / "cache")}
            file = folder / "text.jsonl"
            text.write(self._documents, self.sizes.study_text_bytes, file)
            points = []
            # The first study fills the caches, of the text and the compiler's; it is not counted.
            for number, runs in enumerate(itertools.chain((1,), self.request.runs)):
                own = folder / f"runs-{number}"
                own.mkdir()
                study = studies.write_study(folder, runs, file)
                points.append(studies.measure(study, runs, own, surroundings))
                counted = f"{points[-1].whole:.1f} s" if number else "done once, not counted"
                self.say(f"study of {runs}: {counted}")
            listed = [
                studies.measure_list(folder / "runs-0", runs, folder / "listed", surroundings)
                for runs in self.sizes.listed_runs
            ]
        self.say(f"runs list: {', '.join(f'{point.seconds:.2f} s for {point.runs}' for point in listed)}")
        self.studies = Studies(tuple(points[1:]), tuple(listed))

    def _documents(self) -> Iterable[str]:
        if self.sizes.documents:
            return self.sizes.documents()
        # They are read many times; only reading the sources, once, takes time and is worth a line.
        return builtin.cached_documents(lambda message: self.say(message) if "packing" in message else None)
