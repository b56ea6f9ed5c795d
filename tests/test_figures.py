"""The figures: what is in them, what they refuse, and that the same runs give the same bytes.

Text is drawn as outlines; matplotlib keeps the words beside them in SVG comments, which these tests read.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import fake_runs
import pytest

from actbench.errors import BadInput
from actbench.report.figure_style import colours, shades
from actbench.report.figures import plot_activations, plot_curves
from actbench.store import Run, claim

Plot = Callable[[Sequence[Run], Path], None]
RAF_COLOUR, GELU_COLOUR = "#d55e00", "#222222"
RAW = "stroke-opacity: 0.25"  # how faint the raw training losses are


def words(path: Path) -> list[str]:
    """All texts of an SVG figure."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_layers_count_from_one_and_a_fixed_pooler_has_no_panel(tmp_path: Path) -> None:
    plot_activations([fake_runs.pretrain(tmp_path, "raf", layers=3)], tmp_path / "a.svg")
    titles = [word for word in words(tmp_path / "a.svg") if word.startswith(("Layer", "Pooler"))]
    assert titles == ["Layer 1", "Layer 2", "Layer 3"]


def test_a_learnable_pooler_has_a_panel(tmp_path: Path) -> None:
    model = fake_runs.pretrain(tmp_path, "raf").info["recipe"]["model"]
    recipe = {"model": {**model, "activation_overrides": [{"slot": "pooler", "name": "raf"}]}}
    plot_activations([fake_runs.pretrain(tmp_path, "raf", recipe=recipe)], tmp_path / "a.svg")
    assert "Pooler" in words(tmp_path / "a.svg")
    assert "inputs not sampled" in words(tmp_path / "a.svg")


def test_learned_is_solid_and_initial_dotted(tmp_path: Path) -> None:
    plot_activations([fake_runs.pretrain(tmp_path, "raf", layers=2)], tmp_path / "raf.svg")
    plot_activations([fake_runs.pretrain(tmp_path, "gelu", layers=2)], tmp_path / "gelu.svg")
    learned, fixed = ((tmp_path / name).read_text(encoding="utf-8") for name in ("raf.svg", "gelu.svg"))
    dotted = rf"stroke-dasharray[^\"]*stroke: {RAF_COLOUR}"
    assert len(re.findall(dotted, learned)) == 2
    assert "stroke-dasharray" not in fixed
    assert "before training" in words(tmp_path / "raf.svg")
    assert "before training" not in words(tmp_path / "gelu.svg")


def test_overlaid_runs_are_told_apart(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "raf", seed) for seed in (0, 1)]
    runs.append(fake_runs.pretrain(tmp_path, "gelu", 0))
    plot_activations(runs, tmp_path / "a.svg")
    assert {"raf, seed 0", "raf, seed 1", "gelu, seed 0"} <= set(words(tmp_path / "a.svg"))


def test_runs_of_the_same_activation_and_seed_are_told_apart_by_id(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "raf", name=name) for name in ("one", "two")]
    plot_activations(runs, tmp_path / "a.svg")
    assert {f"raf, {run.id}" for run in runs} <= set(words(tmp_path / "a.svg"))


def test_seeds_of_one_activation_share_a_legend_entry_and_colour(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, name, seed) for name in ("gelu", "raf") for seed in range(3)]
    plot_curves(runs, tmp_path / "c.svg")
    assert {"gelu (3 runs)", "raf (3 runs)", "tokens (thousands)"} <= set(words(tmp_path / "c.svg"))
    assert "training, raw" not in words(tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert RAW not in text
    assert {RAF_COLOUR, GELU_COLOUR} <= set(re.findall(r"stroke: (#\w{6})", text))
    assert len(re.findall(r'id="FillBetween', text)) == 4  # a band a panel and activation


def test_a_single_run_shows_its_raw_losses(tmp_path: Path) -> None:
    plot_curves([fake_runs.pretrain(tmp_path, "raf")], tmp_path / "c.svg")
    assert "training, raw" in words(tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_text(encoding="utf-8").count(RAW) == 2


def test_an_interrupted_run_can_be_drawn(tmp_path: Path) -> None:
    plot_curves([fake_runs.pretrain(tmp_path, "raf", finished=False)], tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_two_models_are_named_by_model(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, name=name, layers=n) for name, n in (("small", 2), ("large", 3))]
    plot_curves(runs, tmp_path / "c.svg")
    assert {"small: gelu", "large: gelu"} <= set(words(tmp_path / "c.svg"))


@pytest.mark.parametrize("plot", [plot_activations, plot_curves])
def test_another_suffix_is_refused_with_the_nearest(tmp_path: Path, plot: Plot) -> None:
    run = fake_runs.pretrain(tmp_path, "raf")
    with pytest.raises(BadInput, match="did you mean 'png'"):
        plot([run], tmp_path / "figure.pmg")
    with pytest.raises(BadInput, match="pdf, png, svg"):
        plot([run], tmp_path / "figure")
    assert not list(tmp_path.glob("figure*"))


@pytest.mark.parametrize("plot", [plot_activations, plot_curves])
def test_no_runs_are_refused(tmp_path: Path, plot: Plot) -> None:
    with pytest.raises(BadInput, match="no runs"):
        plot([], tmp_path / "figure.svg")


def test_all_runs_without_losses_are_named(tmp_path: Path) -> None:
    good = fake_runs.pretrain(tmp_path, "gelu")
    tuned = fake_runs.finetune(tmp_path, good)
    with claim(tmp_path / "silent") as writer:
        writer.describe({"kind": "pretrain", "recipe": good.info["recipe"]})
    with pytest.raises(BadInput) as caught:
        plot_curves([good, tuned, Run(tmp_path / "silent")], tmp_path / "c.svg")
    messages = [str(problem) for problem in caught.value.problems]
    assert len(messages) == 2
    assert tuned.id in messages[0] and "not a pre-training run" in messages[0]
    assert "silent" in messages[1] and "no losses" in messages[1]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
@pytest.mark.parametrize("plot", [plot_activations, plot_curves])
def test_the_same_runs_give_the_same_bytes(tmp_path: Path, plot: Plot, suffix: str) -> None:
    runs = [fake_runs.pretrain(tmp_path, name, layers=2) for name in ("gelu", "raf")]
    first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    plot(runs, first)
    plot(runs, second)
    assert first.read_bytes() == second.read_bytes()
    assert not re.search(rb"CreationDate|<dc:date>", first.read_bytes())


def test_a_failed_drawing_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    out.write_text("old", encoding="utf-8")
    with pytest.raises(BadInput):
        plot_activations([fake_runs.pretrain(tmp_path, "raf", finished=False)], out)
    assert out.read_text(encoding="utf-8") == "old"
    assert not list(tmp_path.glob(".a.svg*"))


def test_drawing_leaves_pyplot_and_settings_alone(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "raf", layers=2)
    script = (
        "import sys, pathlib, matplotlib\n"
        "from actbench.report.figures import plot_activations, plot_curves\n"
        "from actbench.store import Run\n"
        "matplotlib.rcParams['font.size'] = 23\n"
        f"run = Run(pathlib.Path({str(run.folder)!r}))\n"
        f"plot_activations([run], pathlib.Path({str(tmp_path / 'a.png')!r}))\n"
        f"plot_curves([run], pathlib.Path({str(tmp_path / 'c.png')!r}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams['font.size'] == 23\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_colours_are_the_activations_own_and_differ_within_a_figure() -> None:
    chosen = colours([("raf", "raf"), ("raf (init=relu)", "raf"), ("gelu", "gelu"), ("Mine", "x.py:Mine")])
    assert (chosen["raf"], chosen["gelu"]) == (RAF_COLOUR, GELU_COLOUR)
    assert len(set(chosen.values())) == 4


def test_more_activations_than_colours_still_have_one_each() -> None:
    assert len(colours((f"a{i}", f"a{i}") for i in range(30))) == 30


def test_shades_start_at_the_colour_and_differ() -> None:
    assert shades("#d55e00", 1) == ["#d55e00"]
    assert len({*shades("#d55e00", 4)}) == 4
