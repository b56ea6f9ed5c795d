"""A report as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actbench.report.pictures import Picture
from actbench.report.table import markdown

if TYPE_CHECKING:
    from actbench.report.page import Report


def to_markdown(report: Report) -> str:
    """The whole report; its figures lie beside it."""
    parts = [f"# {markdown(report.title)}", *map(markdown, report.about)]
    if report.claim:
        claim = report.claim
        head = f"**{markdown(claim.text)}**\n\n{markdown(claim.verdict.capitalize())}. {markdown(claim.meaning)}"
        parts += ["## Claim", head, markdown(claim.tested), _bullets(claim.reasons)]
    parts.append("## Findings")
    parts += [f"**{markdown(verdict.model)}**\n\n{_bullets(verdict.sentences)}" for verdict in report.verdicts]
    parts += ["## What these numbers are, and are not", _bullets([*report.statement, *report.caveats])]
    parts += ["## Results", *map(_picture, report.forests)]
    parts += [table.to_markdown().strip() for table in report.results]
    parts += map(_picture, report.profiles)
    for heading, pictures in (("Loss", report.losses), ("Learned activations", report.activations)):
        if pictures:
            parts += [f"## {heading}", *map(_picture, pictures)]
    if report.analyses or report.analysis_pictures:
        parts += ["## Analyses", *(table.to_markdown().strip() for table in report.analyses)]
        parts += map(_picture, report.analysis_pictures)
    for heading, tables in (("Speed and memory", report.cost), ("Runs, data and environment", report.provenance)):
        if tables:
            parts += [f"## {heading}", *(table.to_markdown().strip() for table in tables)]
    return "\n\n".join(parts) + "\n"


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown(sentence)}" for sentence in sentences)


def _picture(picture: Picture) -> str:
    head = f"**{markdown(picture.title)}**"
    if picture.problem:
        return f"{head}\n\n{markdown(picture.problem)}"
    return f"{head}\n\n![{markdown(picture.title)}]({picture.file})\n\n{markdown(picture.caption)}"
