"""`actbench analyze`: look into finished runs' models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli import analyze_approximation
from actbench.cli.analysis_output import TableOption, beside, show, table_writer
from actbench.cli.common import RUNS, JsonOption, RunsOption, say

if TYPE_CHECKING:
    from actbench.evaluation.analyses import Analysis
    from actbench.store import Run

app = typer.Typer(no_args_is_help=True, help="Look into finished runs' models.")

RunArgument = Annotated[list[str], typer.Argument(help="Runs: folders, names, or beginnings of names.")]
OutputOption = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="The figure: an .svg, .png or .pdf file.")
]
CorpusOption = Annotated[
    list[str] | None,
    typer.Option(help="A text file or a quoted glob, repeatable; default: the run's own held-out documents."),
]
SequencesOption = Annotated[int, typer.Option(min=1, help="So many of the text's sequences, spread over it.")]


@app.command()
def rank(
    run: RunArgument,
    output: OutputOption = None,
    table: TableOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Rank of the feed-forward matrices by layer: effective rank, share of singular values above 1 %, stable rank.

    Of runs trained with logging.ranks, a second figure, FILE-training, shows how ranks went over training, and with
    --table so does a second table.

    Example: actbench analyze rank bert-nano-gelu-s0 bert-nano-raf-s0 -o rank.svg
    """
    from actbench.report.analysis_tables import rank_history_table
    from actbench.report.figures_analyses import plot_by_depth

    path = output or Path("rank.svg")
    parents, found, write = _analysed(run, "rank", None, 1, runs, path, table)
    plot_by_depth(found, path)
    history, drawn = _rank_history(parents, path)
    _answer(found, [path, *drawn], write, as_json, {"training": history})
    if history:
        table_writer(table and beside(table, "training"))(rank_history_table(history))


@app.command()
def similarity(
    run: RunArgument,
    corpus: CorpusOption = None,
    sequences: SequencesOption = 256,
    output: OutputOption = None,
    table: TableOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Cosine similarity of hidden states between layers, as a heat map; FILE-adjacent shows each layer and the next.

    Example: actbench analyze similarity gpt-nano-gelu-s0 gpt-nano-poly_norm-s0 -o similarity.svg
    """
    from actbench.report.figures_analyses import plot_by_depth, plot_similarity

    path = output or Path("similarity.svg")
    _, found, write = _analysed(run, "similarity", corpus, sequences, runs, path, table)
    plot_similarity(found, path)
    plot_by_depth(found, beside(path, "adjacent"))
    _answer(found, [path, beside(path, "adjacent")], write, as_json)


@app.command()
def activity(
    run: RunArgument,
    corpus: CorpusOption = None,
    sequences: SequencesOption = 256,
    output: OutputOption = None,
    table: TableOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Dead units, gradient norms by layer, and, as FILE-histograms, the inputs and outputs of each activation.

    Example: actbench analyze activity gpt-nano-relu-s0 gpt-nano-poly_relu-s0 -o activity.svg
    """
    from actbench.report.figures_analyses import plot_by_depth, plot_histograms

    path = output or Path("activity.svg")
    _, found, write = _analysed(run, "activity", corpus, sequences, runs, path, table)
    plot_by_depth(found, path)
    plot_histograms(found, beside(path, "histograms"))
    _answer(found, [path, beside(path, "histograms")], write, as_json)


@app.command()
def coefficients(
    run: RunArgument,
    output: OutputOption = None,
    table: TableOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """How the coefficients of learnable activations moved over training, by layer.

    Example: actbench analyze coefficients bert-nano-raf-s0 -o coefficients.svg
    """
    from actbench.report.coefficients_report import coefficients_table, paths_of, plot_coefficients, trajectories_json
    from actbench.store import find_run

    path, write = output or Path("coefficients.svg"), table_writer(table)
    paths = paths_of(list({one.id: one for one in (find_run(reference, runs) for reference in run)}.values()))
    plot_coefficients(paths, path)
    show([coefficients_table(paths)], [path], write, as_json, {"trajectories": trajectories_json(paths)})


app.command("approximation")(analyze_approximation.approximation)


def _analysed(
    references: list[str],
    analysis: Analysis,
    corpus: list[str] | None,
    sequences: int,
    runs: Path,
    figure: Path,
    table: Path | None,
) -> tuple[list[Run], list[Any], Any]:
    """The runs, what was found of each variant, and what writes the table. Checks all that is given before it looks."""
    from actbench.analysis.findings import findings
    from actbench.evaluation.analyses import analyze, plan_analysis
    from actbench.report.figure_style import figure_format
    from actbench.store import find_run

    figure_format(figure)
    write = table_writer(table)
    parents = list({one.id: one for one in (find_run(reference, runs) for reference in references)}.values())
    plans = [plan_analysis(parent, analysis, corpus, runs, sequences) for parent in parents]
    return parents, findings([analyze(planned, say) for planned in plans]), write


def _answer(found: list[Any], figures: list[Path], write: Any, as_json: bool, more: Any = None) -> None:
    from actbench.report.analysis_tables import analysis_table

    results = [
        {"activation": one.name, "run": run, **result}
        for one in found
        for run, result in zip(one.runs, one.results, strict=True)
    ]
    show([analysis_table(found, by_layer=True)], figures, write, as_json, {"results": results, **(more or {})})


def _rank_history(parents: list[Run], path: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """The ranks that runs logged over training, as JSON data, and the figure where there are any."""
    from actbench.analysis.findings import rank_history
    from actbench.analysis.labels import labels
    from actbench.report.figures_analyses import plot_rank_history

    found = [
        (name, parent, steps)
        for name, parent in zip(labels(parents), parents, strict=True)
        if (steps := rank_history(parent))
    ]
    if not found:
        return [], []
    drawn = beside(path, "training")
    plot_rank_history([(name, parent.activation, steps) for name, parent, steps in found], drawn)
    rows = [
        {"run": parent.id, "step": step, "layer": place[0], "matrix": place[1], **numbers}
        for _, parent, steps in found
        for step, by_place in steps.items()
        for place, numbers in by_place.items()
    ]
    return rows, [drawn]
