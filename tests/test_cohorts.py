"""Which runs are compared: those that differ in the activation and the seeds alone."""

from __future__ import annotations

from pathlib import Path

import fake_runs

from actbench.analysis.cohorts import cohorts


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
    assert first.name.startswith("bert-nano #") and second.name.startswith("bert-nano #")
    assert first.name != second.name


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
    assert len(cohorts(runs)) == 2


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


def test_models_that_came_ready_are_no_pre_training(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, activation) for activation in ("gelu", "raf")]
    (trained,) = cohorts(runs)
    assert (trained.is_pretraining, trained.is_import) == (True, False)
    for run in runs:
        run.info["origin"] = {"from": "hf:somewhere"}
    (ready,) = cohorts(runs)
    assert (ready.is_pretraining, ready.is_import) == (False, True)
