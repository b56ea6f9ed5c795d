"""The report of a set of runs: one self-contained HTML page, the same as Markdown, and its tables as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from actbench.analysis.claims import Claim
from actbench.analysis.cohorts import Cohort, Variant, cohorts, seed_key, split_finished
from actbench.analysis.comparisons import Family, compare
from actbench.analysis.curves import recorded_slots
from actbench.analysis.labels import label
from actbench.analysis.over_tasks import over_tasks
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.errors import BadInput
from actbench.report.figures import plot_activations, plot_curves, plot_profiles
from actbench.report.numbers import plural
from actbench.report.provenance import facts_table, runs_table
from actbench.report.results import result_tables
from actbench.report.table import Table, markdown
from actbench.report.words import Verdict, statement, verdicts
from actbench.store import Run
from actbench.store.atomic import write_json, write_text

POINT = 96 / 72  # CSS pixels in a figure's unit


@dataclass(frozen=True)
class StudyText:
    """What a study says of itself. `about` is plain text, in which an empty line starts a paragraph."""

    title: str
    about: str
    claim: Claim | None = None


@dataclass(frozen=True)
class Picture:
    """A figure of the report: a file under figures/, or in its place the reason why it could not be drawn."""

    file: str
    title: str
    caption: str
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """All that a report says, in the order it says it."""

    title: str
    about: list[str]  # paragraphs
    statement: list[str]
    verdicts: list[Verdict]
    results: list[Table]
    profiles: list[Picture]
    losses: list[Picture]
    activations: list[Picture]
    provenance: list[Table]


def write_report(folder: Path, text: StudyText, runs: Sequence[Run], baseline: str) -> None:
    """Writes report.html, report.md with figures/*.svg beside it, and tables.json into `folder`.

    The same runs give the same bytes. Raises BadInput when none of the runs is finished.
    """
    runs = sorted(runs, key=_order)
    finished, _ = split_finished(runs)
    if not finished:
        raise BadInput("nothing to report: none of the runs is finished")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    report = _report(folder, text, runs, finished, baseline)
    write_text(folder / "report.html", _html(report, folder))
    write_text(folder / "report.md", _markdown(report))
    tables = [table.to_json() for table in (*report.results, *report.provenance)]
    write_json(
        folder / "tables.json", {"title": text.title, "about": text.about, "baseline": baseline, "tables": tables}
    )


def _report(folder: Path, text: StudyText, runs: list[Run], finished: list[Run], baseline: str) -> Report:
    models = [cohort for cohort in cohorts(finished) if cohort.is_pretraining]
    family = compare(runs, baseline)
    return Report(
        title=text.title,
        about=[" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.about) if paragraph.strip()],
        statement=statement(finished),
        verdicts=verdicts(family),
        results=result_tables(family),
        profiles=_profile_pictures(folder, family),
        losses=[_loss_picture(folder, cohort) for cohort in models],
        activations=[
            _activation_picture(folder, cohort, variant)
            for cohort in models
            for variant in cohort.variants
            if _is_learnable(variant.first)
        ],
        provenance=[
            runs_table(runs),
            facts_table("Data", runs, "data"),
            facts_table("Hardware", runs, "hardware"),
            facts_table("Environment", runs, "environment"),
        ],
    )


def _order(run: Run) -> tuple[bool, str, str, str, tuple[int, int], str]:
    """Pre-training first; by model, task, activation and seeds."""
    task = run.info.get("task", {}).get("name", "")
    return run.kind != "pretrain", run.info["recipe"]["name"], task, label(run), seed_key(run), run.id


def _loss_picture(folder: Path, cohort: Cohort) -> Picture:
    runs = [run for variant in cohort.variants for run in variant.runs.values()]
    caption = (
        f"{plural(len(runs), 'run')}. Several seeds of one activation: their mean, the validation loss in a "
        "band from the lowest to the highest. The first fall of the loss runs off the top."
    )
    file = f"figures/{_slug(cohort.name)}-loss.svg"
    return _picture(Picture(file, f"{cohort.name}: loss", caption), lambda: plot_curves(runs, folder / file))


def _profile_pictures(folder: Path, family: Family) -> list[Picture]:
    variants = [variant for variant in over_tasks(family.finetuning) if variant.gains is not None]
    pictures = []
    for model in dict.fromkeys(variant.model for variant in variants):
        own = [variant for variant in variants if variant.model == model]
        caption = (
            f"{plural(len(own[0].tasks), 'task')}. For every τ, the share of tasks and seeds at which a score "
            f"is more than τ points above that of {family.baseline}. Of curves that do not cross, the upper is better. "
            f"Bands (95 %, over pre-training seeds) are drawn from {ENOUGH_PAIRS} seeds on."
        )
        file = f"figures/{_slug(model)}-profiles.svg"
        picture = Picture(file, f"{model}: performance profiles", caption)
        pictures.append(_picture(picture, partial(plot_profiles, own, family.baseline, folder / file)))
    return pictures


def _activation_picture(folder: Path, cohort: Cohort, variant: Variant) -> Picture:
    run = variant.first
    caption = (
        f"Run {run.id}, seed {run.seed}. Solid: after training; dotted: before; beneath: how often inputs "
        "of that size reach the layer. A tail that few inputs reach may run off the panel."
    )
    file = f"figures/{_slug(cohort.name)}-activations-{_slug(variant.label)}.svg"
    picture = Picture(file, f"{cohort.name}: {variant.label} by layer", caption)
    return _picture(picture, lambda: plot_activations([run], folder / file))


def _picture(picture: Picture, draw: Callable[[], None]) -> Picture:
    """Draws; a run that cannot be drawn costs the report this figure only."""
    try:
        draw()
    except BadInput as error:
        return Picture(picture.file, picture.title, picture.caption, f"Not drawn: {error}")
    return picture


def _is_learnable(run: Run) -> bool:
    try:
        return any(slot["final"] for slot in recorded_slots(run))
    except BadInput:
        return True  # the attempt to draw it will say what is wrong


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")


def _html(report: Report, folder: Path) -> str:
    environment = Environment(
        loader=PackageLoader("actbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = [picture for picture in (*report.profiles, *report.losses, *report.activations) if not picture.problem]
    svg = {picture.file: _inline_svg(folder / picture.file, f"f{i}") for i, picture in enumerate(drawn)}
    return environment.get_template("page.html.jinja").render(report=report, svg=svg) + "\n"


def _inline_svg(path: Path, prefix: str) -> Markup:
    """A figure's file as an element of the page: no larger than drawn, its ids made unique by `prefix`."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", text, count=2)
    width = round(float(text.split('viewBox="', 1)[1].split()[2]) * POINT)
    text = text.replace("<svg", f'<svg style="max-width: {width}px"', 1)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return Markup(re.sub(r"\s*\n\s*", "\n", text.strip()))


def _markdown(report: Report) -> str:
    parts = [f"# {markdown(report.title)}", *map(markdown, report.about)]
    parts += ["## What these numbers are", _bullets(report.statement)]
    parts.append("## Verdict")
    parts += [f"**{markdown(verdict.model)}**\n\n{_bullets(verdict.sentences)}" for verdict in report.verdicts]
    parts += ["## Results", *(table.to_markdown().strip() for table in report.results)]
    parts += [_markdown_picture(picture) for picture in report.profiles]
    for heading, pictures in (("Loss", report.losses), ("Learned activations", report.activations)):
        if pictures:
            parts += [f"## {heading}", *(_markdown_picture(picture) for picture in pictures)]
    parts += ["## Runs, data and environment", *(table.to_markdown().strip() for table in report.provenance)]
    return "\n\n".join(parts) + "\n"


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown(sentence)}" for sentence in sentences)


def _markdown_picture(picture: Picture) -> str:
    head = f"**{markdown(picture.title)}**"
    if picture.problem:
        return f"{head}\n\n{markdown(picture.problem)}"
    return f"{head}\n\n![{markdown(picture.title)}]({picture.file})\n\n{markdown(picture.caption)}"
