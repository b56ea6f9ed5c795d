"""The report of a set of runs: one self-contained HTML page, the same as Markdown, and its tables as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actbench.analysis.claims import Claim
from actbench.analysis.cohorts import ANALYSIS, cohorts, seed_key, split_finished
from actbench.analysis.comparisons import Stated, compare
from actbench.analysis.labels import label
from actbench.analysis.statements import Statement
from actbench.errors import BadInput
from actbench.report.analysis_section import analysis_section, approximation_section
from actbench.report.caveats import caveats
from actbench.report.claim_words import ClaimText, claim_text
from actbench.report.cost_table import cost_table
from actbench.report.html import html
from actbench.report.markdown import to_markdown
from actbench.report.palette import Palette, palette
from actbench.report.pictures import Picture, activation_pictures, forest_pictures, loss_picture, profile_pictures
from actbench.report.provenance import FACTS, facts_table, hashes_table, runs_table
from actbench.report.results import result_tables
from actbench.report.speedup_table import speedup_tables
from actbench.report.stated_words import too_late
from actbench.report.table import Table
from actbench.report.table_files import write_tables
from actbench.report.words import Verdict, glance, statement, verdicts
from actbench.store import Run
from actbench.store.atomic import write_json, write_text

if TYPE_CHECKING:
    from actbench.analysis.approximation import Kept


@dataclass(frozen=True)
class StudyText:
    """What a study says of itself. `about` is plain text, in which an empty line starts a paragraph.

    `statements` are what it claimed and compared from when on, oldest first; none where that is not known.
    """

    title: str
    about: str
    claim: Claim | None = None
    comparisons: tuple[Stated, ...] = ()
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that a report says, in the order it says it."""

    title: str
    about: list[str]  # paragraphs
    glance: list[tuple[str, str]]
    claim: ClaimText | None
    verdicts: list[Verdict]
    statement: list[str]
    caveats: list[str]
    forests: list[Picture]
    results: list[Table]
    profiles: list[Picture]
    losses: list[Picture]
    activations: list[Picture]
    analyses: list[Table]
    analysis_pictures: list[Picture]
    cost: list[Table]
    provenance: list[Table]
    palette: Palette

    @property
    def pictures(self) -> list[Picture]:
        """All figures."""
        return [*self.forests, *self.profiles, *self.losses, *self.activations, *self.analysis_pictures]

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        return [*self.results, *self.analyses, *self.cost, *self.provenance]


def write_report(
    folder: Path,
    text: StudyText,
    runs: Sequence[Run],
    baseline: str,
    chosen: Sequence[str] = (),
    fitted: Kept | None = None,
) -> None:
    """Writes report.html, report.md with figures/*.svg, tables/*.csv and *.tex, and tables.json into `folder`.

    `chosen` are the fine-tuning settings of a grid, which the selection set decides (see analysis/grids.py), `fitted`
    what there is of fits of smooth functions. The same runs and fits give the same bytes. Raises BadInput when none of
    the runs is finished.
    """
    runs = sorted(runs, key=_order)
    finished, _ = split_finished(runs)
    if not finished:
        raise BadInput("nothing to report: none of the runs is finished")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    report = _report(folder, text, runs, finished, baseline, chosen, fitted)
    write_text(folder / "report.html", html(report, folder))
    write_text(folder / "report.md", to_markdown(report))
    write_tables(folder / "tables", report.tables)
    about = {"title": text.title, "about": text.about, "baseline": baseline, "chosen": list(chosen)}
    claim = report.claim.data if report.claim else None
    write_json(folder / "tables.json", {**about, "claim": claim, "tables": [t.to_json() for t in report.tables]})


def _report(
    folder: Path,
    text: StudyText,
    runs: list[Run],
    finished: list[Run],
    baseline: str,
    chosen: Sequence[str],
    fitted: Kept | None,
) -> Report:
    compared = [run for run in runs if run.kind != ANALYSIS]
    found = cohorts([run for run in finished if run.kind != ANALYSIS], chosen)
    models = [cohort for cohort in found if cohort.is_pretraining]
    family, colours = compare(compared, baseline, chosen, text.comparisons), palette(found, baseline)
    analyses, analysis_pictures = analysis_section(folder, finished, colours.colour_of)
    approximation, pictures = approximation_section(folder, fitted)
    return Report(
        title=text.title,
        about=[" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.about) if paragraph.strip()],
        glance=glance(compared, found),
        claim=claim_text(text.claim, family, text.statements) if text.claim else None,
        verdicts=verdicts(family),
        statement=statement(finished),
        caveats=[*too_late(text.statements), *caveats(compared, baseline, chosen)],
        forests=forest_pictures(folder, family, colours),
        results=result_tables(family),
        profiles=profile_pictures(folder, family, colours),
        losses=[loss_picture(folder, cohort, colours) for cohort in models],
        activations=activation_pictures(
            folder, [cohort for cohort in found if cohort.is_pretraining or cohort.is_import]
        ),
        analyses=[*analyses, *approximation],
        analysis_pictures=[*analysis_pictures, *pictures],
        cost=[table for table in (cost_table(family), *speedup_tables(models, baseline)) if table.rows],
        provenance=[
            runs_table(runs, baseline, chosen),
            hashes_table(runs),
            *(facts_table(name, runs) for name in FACTS),
        ],
        palette=colours,
    )


def _order(run: Run) -> tuple[bool, str, str, str, tuple[int, int], str]:
    """Pre-training first; by model, task, activation and seeds."""
    task = run.info.get("task", {}).get("name", "")
    return run.kind != "pretrain", run.info["recipe"]["name"], task, label(run), seed_key(run), run.id
