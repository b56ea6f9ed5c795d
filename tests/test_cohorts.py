"""Which runs are compared: those that differ in the activation and the seeds alone."""

from __future__ import annotations

from pathlib import Path

import fake_runs

from actbench.analysis.cohorts import cohorts
from actbench.report.page import StudyText, write_report


def test_runs_of_one_setup_are_one_cohort_with_a_variant_an_activation(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, name, seed) for name in ("raf", "gelu") for seed in (1, 0)]
    (cohort,) = cohorts(runs)
    assert (cohort.name, cohort.task) == ("bert-nano", None)
    assert [variant.label for variant in cohort.variants] == ["gelu", "raf"]
    assert [list(variant.runs) for variant in cohort.variants] == [[(0, 0), (1, 0)]] * 2


def test_runs_that_differ_in_more_are_not_paired(tmp_path: Path) -> None:
    slow = {"optimizer": {"lr": 1e-4, "activation": {"lr_multiplier": 1.0}}}
    runs = [fake_runs.pretrain(tmp_path, "gelu"), fake_runs.pretrain(tmp_path, "raf", recipe=slow)]
    first, second = cohorts(runs)
    assert [first.name, second.name] == ["bert-nano (optimizer.lr=0.0001)", "bert-nano (optimizer.lr=0.001)"]


def test_a_value_that_a_recipe_has_by_default_is_said_too(tmp_path: Path) -> None:
    kinds = [{"sequences": 32, "length": 128}, {"sequences": 32, "length": 128, "accumulate": 2}]
    runs = [fake_runs.pretrain(tmp_path, "gelu", recipe={"batch": batch}) for batch in kinds]
    names = [f"bert-nano (batch.accumulate={n})" for n in (1, 2)]
    assert [cohort.name for cohort in cohorts(runs)] == names


def test_runs_of_another_length_are_told_by_the_key_that_each_has(tmp_path: Path) -> None:
    budgets = [{"steps": 200}, {"tokens": 819_200}]
    runs = [fake_runs.pretrain(tmp_path, "gelu", recipe={"budget": budget}) for budget in budgets]
    assert [cohort.name for cohort in cohorts(runs)] == [
        "bert-nano (budget.steps=200)",
        "bert-nano (budget.tokens=819200)",
    ]


def test_a_value_that_is_none_is_said_where_nothing_else_is(tmp_path: Path) -> None:
    clips = [{"lr": 1e-3, "clip_norm": clip} for clip in (None, 1.0)]
    runs = [fake_runs.pretrain(tmp_path, "gelu", recipe={"optimizer": optimizer}) for optimizer in clips]
    names = [f"bert-nano (optimizer.clip_norm={clip})" for clip in ("1", "null")]
    assert [cohort.name for cohort in cohorts(runs)] == names


def test_how_the_activation_learns_and_the_seed_tell_no_cohorts_apart(tmp_path: Path) -> None:
    recipes = [{"optimizer": {"lr": lr, "activation": {"lr": lr / 2}}} for lr in (1e-3, 2e-3)]
    runs = [fake_runs.pretrain(tmp_path, "raf", seed, recipe=one) for one in recipes for seed in (0, 1)]
    names = [f"bert-nano (optimizer.lr={lr})" for lr in ("0.001", "0.002")]
    assert [cohort.name for cohort in cohorts(runs)] == names


def test_a_models_cohorts_have_one_name_whatever_was_done_with_it(tmp_path: Path) -> None:
    slow, fast = (fake_runs.pretrain(tmp_path, "gelu", recipe={"optimizer": {"lr": lr}}) for lr in (1e-4, 1e-3))
    tuned = [fake_runs.finetune(tmp_path, fast, settings={"train_size": n}) for n in (100, 300)]
    assert [(cohort.name, cohort.task) for cohort in cohorts([slow, fast, *tuned])] == [
        ("bert-nano (optimizer.lr=0.0001)", None),
        ("bert-nano (optimizer.lr=0.001)", None),
        ("bert-nano (optimizer.lr=0.001, train_size 100)", "sst2"),
        ("bert-nano (optimizer.lr=0.001, train_size 300)", "sst2"),
    ]


def test_what_is_too_much_to_say_is_a_hash(tmp_path: Path) -> None:
    parts = [[{"weight": w, "source": "files", "files": ["a.txt"]} for w in (1.0, last)] for last in (2.0, 3.0)]
    long = [{"corpus": {"source": "mixture", "parts": each}} for each in parts]
    many = [{}, {"batch": {"sequences": 8, "length": 64, "accumulate": 4}, "optimizer": {"lr": 1e-4}}]
    for kinds in (long, many):
        names = [cohort.name for cohort in cohorts([fake_runs.pretrain(tmp_path, "gelu", recipe=one) for one in kinds])]
        assert len(set(names)) == 2 and all(name.startswith("bert-nano #") for name in names)


def test_the_report_of_a_study_of_rates_says_the_rate(tmp_path: Path) -> None:
    rates = [{"optimizer": {"lr": lr, "activation": {"lr_multiplier": None}}} for lr in (5e-4, 1e-3, 2e-3)]
    axes = [(rate, name, seed) for rate in rates for name in ("gelu", "raf") for seed in (0, 1)]
    runs = [fake_runs.pretrain(tmp_path / "runs", name, seed, recipe=rate) for rate, name, seed in axes]
    write_report(tmp_path, StudyText("Rates", ""), runs, "gelu")
    for page in ("report.html", "report.md"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert all(f"bert-nano (optimizer.lr={rate})" in text for rate in ("0.0005", "0.001", "0.002"))
        assert "bert-nano #" not in text
    assert len(list((tmp_path / "figures").glob("bert-nano*-loss.svg"))) == 3


def test_a_model_key_that_an_older_run_lacks_is_at_its_default(tmp_path: Path) -> None:
    older = fake_runs.pretrain(tmp_path, "gelu")
    assert "ffn_in_std" not in older.info["recipe"]["model"]
    raf = {**older.info["recipe"]["model"], "activation": {"name": "raf"}, "ffn_in_std": "matched", "head_gelu": "erf"}
    newer, released = (
        fake_runs.pretrain(tmp_path, "raf", recipe={"model": {**raf, **more}}) for more in ({}, {"ffn_in_std": 0.1})
    )
    assert len(cohorts([older, newer])) == 1 and len(cohorts([older, newer, released])) == 2


def test_what_single_slots_hold_and_how_they_learn_is_the_variants_matter(tmp_path: Path) -> None:
    slow = {"optimizer": {"lr": 1e-3, "activation_overrides": [{"layers": "0", "lr": 1e-5}]}}
    runs = [fake_runs.pretrain(tmp_path, "gelu"), fake_runs.pretrain(tmp_path, "raf", recipe=slow)]
    runs.append(fake_runs.pretrain(tmp_path, "gelu", overrides=[{"slot": "layers.0", "name": "raf"}]))
    (cohort,) = cohorts(runs)
    assert [variant.label for variant in cohort.variants] == ["gelu", "gelu (layer 0 raf)", "raf"]
    assert cohort.called("gelu") is cohort.variants[0]


def test_an_own_activation_is_a_baseline_by_its_class(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "gelu")
    run.info["recipe"]["model"]["activation"] = {"name": f"{fake_runs.OWN}:Cube", "scale": 2}
    (cohort,) = cohorts([run])
    assert cohort.called("some/where/mine.py:Cube") is cohort.variants[0]


def test_the_recipes_names_do_not_matter(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, a, name=f"nano-{a}") for a in ("gelu", "raf")]
    (cohort,) = cohorts(runs)
    assert cohort.name == "nano-gelu / nano-raf"


def test_hardware_is_compared_as_found_and_not_as_asked_for(tmp_path: Path) -> None:
    asked = {"hardware": {"device": "cpu", "precision": "fp32", "compile": "never"}}
    runs = [fake_runs.pretrain(tmp_path, "gelu"), fake_runs.pretrain(tmp_path, "raf", recipe=asked)]
    assert len(cohorts(runs)) == 1
    runs[0].info["hardware"] = {**runs[0].info["hardware"], "precision": "bf16"}
    assert [cohort.name for cohort in cohorts(runs)] == [
        f"bert-nano (hardware.precision={p})" for p in ("bf16", "fp32")
    ]


def test_where_the_same_text_lay_does_not_matter(tmp_path: Path) -> None:
    files = [{"corpus": {"source": "files", "files": [name]}} for name in ("a.txt", "b.txt")]
    parts = [[{"weight": w, **one["corpus"]} for w in (1.0, 3.0)] for one in files]
    mixtures = [{"corpus": {"source": "mixture", "parts": each}} for each in parts]
    own = [{"corpus": {"source": "checkpoint", "checkpoint": name}, "budget": {}} for name in ("a", "b")]
    sets = [{"validation": {"sets": {"news": one["corpus"]}}} for one in files]
    for first, second in (files, mixtures, own, sets, ({"validation": {}}, sets[0])):
        runs = [fake_runs.pretrain(tmp_path, "gelu", recipe=first), fake_runs.pretrain(tmp_path, "raf", recipe=second)]
        assert len(cohorts(runs)) == 1
    heavier = {"corpus": {"source": "mixture", "parts": [{**parts[0][0], "weight": 2.0}, parts[0][1]]}}
    runs = [fake_runs.pretrain(tmp_path, name, recipe=one) for name, one in (("gelu", mixtures[0]), ("raf", heavier))]
    assert len(cohorts(runs)) == 2


def test_other_data_is_another_cohort(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, activation) for activation in ("gelu", "raf")]
    runs[0].info["data"] = {**runs[0].info["data"], "hash": "beef"}
    assert len(cohorts(runs)) == 2


def test_a_variant_of_the_baseline_stands_in_when_it_is_the_only_one(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "gelu", options={"approximate": "tanh"})]
    (cohort,) = cohorts([*runs, fake_runs.pretrain(tmp_path, "raf")])
    baseline = cohort.called("gelu")
    assert baseline is not None and baseline.label == "gelu (approximate=tanh)"


def test_of_two_variants_of_the_baseline_none_is_guessed(tmp_path: Path) -> None:
    kinds = [{"init": "relu"}, {"init": "tanh"}]
    (cohort,) = cohorts([fake_runs.pretrain(tmp_path, "raf", options=options) for options in kinds])
    assert cohort.called("raf") is None
    assert "raf (init=relu), raf (init=tanh)" in cohort.why_none_called("raf")


def test_a_repeat_is_kept_aside_for_the_newer_run(tmp_path: Path) -> None:
    asked = {"hardware": {"device": "cpu", "precision": "fp32", "compile": "never"}}
    old, new = fake_runs.pretrain(tmp_path, "gelu"), fake_runs.pretrain(tmp_path, "gelu", recipe=asked)
    old.info["created"], new.info["created"] = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    (cohort,) = cohorts([new, old])
    (variant,) = cohort.variants
    assert variant.ids == (new.id,) and variant.repeats == (old,)


def test_an_own_file_that_changed_is_another_variant(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "gelu", seed) for seed in (0, 1)]
    for run in runs:
        run.info["recipe"]["model"]["activation"] = {"name": f"{fake_runs.OWN}:Cube"}
        run.info["code"] = {"layers.0": f"the file's hash {run.seed}"}
    (cohort,) = cohorts(runs)
    assert [len(variant.runs) for variant in cohort.variants] == [1, 1]
    assert all(variant.label.startswith("Cube #") for variant in cohort.variants)


def test_finetuned_runs_are_sorted_by_task_and_settings(tmp_path: Path) -> None:
    parent = fake_runs.pretrain(tmp_path, "gelu")
    small = {"train_size": 100}
    runs = [
        fake_runs.finetune(tmp_path, parent, "sst2"),
        fake_runs.finetune(tmp_path, parent, "mrpc"),
        fake_runs.finetune(tmp_path, parent, "sst2", settings=small),
        fake_runs.finetune(tmp_path, parent, "sst2", finetune_seed=1),
    ]
    found = cohorts([parent, *runs])
    assert sorted((cohort.task or "", len(cohort.variants[0].runs)) for cohort in found) == [
        ("", 1),
        ("mrpc", 1),
        ("sst2", 1),
        ("sst2", 2),
    ]


def test_fine_tunings_that_asked_for_a_compiler_are_compared_with_those_that_did_not(tmp_path: Path) -> None:
    ways = {"gelu": "never", "raf": "always"}
    parents = {name: fake_runs.pretrain(tmp_path, name) for name in ways}
    runs = [fake_runs.finetune(tmp_path, parents[name], settings={"compile": way}) for name, way in ways.items()]
    (cohort,) = cohorts(runs)
    assert [variant.label for variant in cohort.variants] == ["gelu", "raf"]


def test_models_that_came_ready_are_no_pre_training(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, activation) for activation in ("gelu", "raf")]
    (trained,) = cohorts(runs)
    assert (trained.is_pretraining, trained.is_import) == (True, False)
    for run in runs:
        run.info["origin"] = {"from": "hf:somewhere"}
    (ready,) = cohorts(runs)
    assert (ready.is_pretraining, ready.is_import) == (False, True)
