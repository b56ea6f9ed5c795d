"""A report as one HTML page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from actbench.report.loss_curves import LossChart
from actbench.report.provenance import FACTS

if TYPE_CHECKING:
    from actbench.report.page import Report

POINT = 96 / 72  # CSS pixels in a figure's unit
SCRIPTS = ("vendor/uplot/uPlot.iife.min.js", "page.js", "charts.js")
STYLES = ("vendor/uplot/uPlot.min.css", "page.css")


def html(report: Report, folder: Path) -> str:
    """The whole page. `folder` holds the figures that the page shows as they are."""
    environment = Environment(
        loader=PackageLoader("actbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tied"] = tied
    shown = [picture for picture in report.pictures if not picture.problem and picture.live is None]
    svg = {picture.file: _inline_svg(folder / picture.file, f"f{i}") for i, picture in enumerate(shown)}
    charts = [picture.live.data for picture in report.losses if isinstance(picture.live, LossChart)]
    scripts = [Markup(_asset(name)) for name in SCRIPTS]
    page = environment.get_template("page.html.jinja").render(
        report=report,
        svg=svg,
        number=report.palette.numbers,
        traced=FACTS,
        charts=script_json(charts),
        styles=[Markup(_asset(name)) for name in STYLES],
        scripts=scripts,
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
    )
    return page + "\n"


def script_json(data: Any) -> Markup:
    """JSON that may stand in a script element: nothing in it can end that element or start a comment."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def tied(text: str) -> str:
    """Text in which short brackets, as those of intervals, are not broken over lines."""
    return re.sub(r"[\[(][^\])]{,30}[\])]", lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


@cache
def _asset(name: str) -> str:
    return files("actbench.report").joinpath(name).read_text(encoding="utf-8").strip()


def _digest(script: str) -> str:
    """What a browser compares a script with before it runs it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _inline_svg(path: Path, prefix: str) -> Markup:
    """A figure's file as an element of the page: as large as drawn, its ids made unique by `prefix`."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", text, count=2)
    width = round(float(text.split('viewBox="', 1)[1].split()[2]) * POINT)
    text = text.replace("<svg", f'<svg style="--drawn: {width}px"', 1)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return Markup(re.sub(r"\s*\n\s*", "\n", text.strip()))
