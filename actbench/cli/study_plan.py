"""`actbench study plan`: what a study will take, before anything of it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import (
    RUNS,
    JsonOption,
    RunsOption,
    StudyArgument,
    StudyDataOption,
    StudySetOption,
    print_json,
    say,
    study_changes,
)

if TYPE_CHECKING:
    from actbench.study.estimate import Estimate, StudyEstimate


def plan(
    file: StudyArgument,
    jobs: Annotated[int, typer.Option(min=1, help="So many runs at once.")] = 1,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
    keys: StudySetOption = None,
    data: StudyDataOption = None,
) -> None:
    """Show a study's runs, and how many tokens, hours and bytes they will take on this machine. Trains nothing.

    Example: actbench study plan recipes/studies/reproduce.yaml --jobs 2
    """
    from actbench.study import open_study
    from actbench.study.estimate import estimate

    found = estimate(open_study(file, runs, say, study_changes(keys, data)), jobs)
    if as_json:
        print_json(found.facts())
        return
    from actbench.cli.show import print_rows

    print_rows(["run", "state", "runs", "tokens", "min", "disk", "time"], [_row(part) for part in found.parts])
    print(f"\n{_sum(found)}")
    print("\n".join(f"- {sentence}" for sentence in found.basis))


def _row(part: Estimate) -> list[str]:
    from actbench.cli.show import readable

    left = part.runs - part.finished
    return [
        f"{part.title} {part.label}".rstrip(),
        part.state,
        f"{part.finished}/{part.runs}",
        f"{part.tokens:,}" if part.tokens else "-",
        f"{part.seconds / 60:,.1f}" if left else "-",
        readable("disk_bytes", part.disk_bytes) if left else "-",
        part.basis,
    ]


def _sum(found: StudyEstimate) -> str:
    from actbench.cli.show import readable
    from actbench.report.numbers import plural

    hours = found.seconds / 3600
    time = f"{hours:,.1f} hours" if hours >= 1 else f"{found.seconds / 60:.0f} minutes"
    return (
        f"{plural(found.runs, 'run')}, {found.finished} of them finished. To do: {found.tokens:,} tokens, "
        f"about {time}, {readable('disk_bytes', found.disk_bytes)} of disk."
    )
