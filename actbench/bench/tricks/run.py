"""`actbench bench tricks`: every trick asked for, in every model asked for, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actbench.bench import machine
from actbench.bench.peers.prepare import Sizes
from actbench.bench.peers.run import environment
from actbench.bench.tricks.catalogue import Trick, missing
from actbench.bench.tricks.measure import measure
from actbench.bench.tricks.results import Results, summary
from actbench.training.signals import interruptible


def run(
    tricks: Sequence[Trick],
    models: Sequence[str],
    *,
    sizes: Sizes,
    rounds: int,
    command: str,
    say: Callable[[str], None],
) -> Results:
    """Measures those tricks in those of `models` that they are for, and tells of each result as it comes.

    What training does not do on this machine is left out, with the reason; what fails is told, and the others go on.
    """
    hardware, facts = machine.hardware(), machine.facts(command)
    warning = machine.busy(facts)
    if warning:
        say(f"warning: {warning}")
    reasons = {trick.name: missing(trick, hardware) for trick in tricks}
    skipped = tuple(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    for line in skipped:
        say(f"left out: {line}")
    wanted = [(t, model) for t in tricks if not reasons[t.name] for model in models if model in t.models]
    outcomes, failed = [], []
    with interruptible("stopped"):
        for number, (trick, model) in enumerate(wanted, start=1):
            try:
                outcomes.append(measure(trick, sizes.recipe(model, rounds), hardware, rounds, environment()))
                said = summary(outcomes[-1].comparison)
            except Exception as error:  # a side, or the compiler, may raise anything
                failed.append(
                    f"{trick.name}, {model}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                )
                said = "failed"
            say(f"[{number}/{len(wanted)}] without {trick.label}, {model}: {said}")
    settings = {
        "tricks": [trick.name for trick in tricks],
        "models": list(models),
        "layers": sizes.n_layers,
        "width": sizes.d_model,
        "vocabulary": sizes.vocabulary,
        "batch": f"{sizes.sequences} x {sizes.length}",
        "rounds": rounds,
        "hardware": hardware.facts(),
    }
    return Results(facts, settings, tuple(outcomes), skipped, tuple(failed), (warning,) if warning else ())
