"""Every problem of a study file is told before anything runs: where it stands, and what is meant."""

import pytest

from actbench.errors import BadInput
from actbench.study import Changes, load_study


@pytest.fixture
def problems(study_file, tiny_recipe, tmp_path):
    """The text of what is wrong with a study; its second experiment is over a GPT."""

    def told(follow_up=None, **changes):
        tiny_recipe("bert")
        tiny_recipe("gpt")
        if follow_up is not None:
            axes = {"model.activation.name": ["gelu", "raf"]}
            changes["experiments"] = [{"recipe": "bert.yaml", "axes": axes, "follow_ups": [follow_up]}]
        with pytest.raises(BadInput) as caught:
            load_study(study_file(**changes))
        assert not (tmp_path / "runs").exists()
        return str(caught.value)

    return told


def test_problems_of_all_experiments_come_at_once(problems):
    text = problems(
        experiments=[
            {"recipe": "bert.yaml", "axes": {"model.activation.name": ["gelu", "raff"], "sed": [0]}},
            {"recipe": "gtp.yaml", "axes": {"seed": [0]}},
        ]
    )
    for expected in ("did you mean 'raf'?", "did you mean 'seed'?", "no such file", "study.yaml:"):
        assert expected in text


@pytest.mark.parametrize(
    ("follow_up", "expected"),
    [
        ({"finetune": "probs", "seeds": [0]}, "did you mean 'probes'?"),
        ({"finetune": "probes", "seed": [0]}, "did you mean 'experiments.0.follow_ups.0.seeds'?"),
        ({"finetune": "probes", "seeds": [0], "settings": {"epoch": 1}}, "did you mean"),
        ({"finetune": "probes", "seeds": [0], "tasks": ["probe_swop"]}, "did you mean 'probe_swap'?"),
        ({"finetune": "probes", "seeds": [0], "data": "GLUE"}, "data is for glue"),
        ({"finetune": "glue", "seeds": [0], "data": "nowhere"}, "no such folder: nowhere"),
        ({"finetune": "squad_v3", "seeds": [0]}, "did you mean 'squad_v2'?"),
        ({"finetune": "squad", "seeds": [0], "settings": {"docstride": 64}}, "settings.doc_stride'?"),
        ({"finetune": "squad", "seeds": [0], "tasks": ["squad"]}, "unknown key"),
        ({"finetune": "probes", "seeds": []}, "experiments.0.follow_ups.0.seeds"),
        ({"eval": "perplexty"}, "did you mean 'perplexity'?"),
        ({"eval": "perplexity", "corpuses": "x"}, "did you mean 'experiments.0.follow_ups.0.corpus'?"),
        ("perplexity", "'finetune' (probes"),
        ({"evaluate": "perplexity"}, "squad or squad_v2), 'eval' (perplexity or zero-shot) or 'analyze'"),
    ],
)
def test_a_follow_up_that_means_nothing(problems, follow_up, expected):
    text = problems(follow_up)
    assert expected in text and "study.yaml:" in text and "experiments.0.follow_ups.0" in text


def test_only_a_bert_is_fine_tuned(problems):
    follow_up = {"finetune": "probes", "seeds": [0]}
    text = problems(experiments=[{"recipe": "gpt.yaml", "axes": {"seed": [0]}, "follow_ups": [follow_up]}])
    assert "only a BERT can be fine-tuned" in text


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"activation": "rav"}, "did you mean 'raf'?"),
        ({"activation": "raf", "model": "tiny-brt"}, "did you mean 'tiny-bert'?"),
        ({"activation": "raf", "task": "cola"}, "no run is fine-tuned or scored on the claim's task, 'cola'"),
        ({"activation": "raf"}, "claim: a claim needs 6 pre-training seeds to be judged, and tiny-bert has 1"),
        ({"activation": "gelu"}, "claim.activation: 'gelu' is the baseline itself"),
        ({"activation": "raf", "margins": 1}, "did you mean 'claim.margin'?"),
    ],
)
def test_a_claim_about_what_is_not_run(problems, claim, expected):
    assert expected in problems(claim={"text": "A claim.", **claim})


def test_a_claim_needs_enough_pairs_of_every_model(problems):
    """Six seeds of its activation are not enough where the baseline, or another model, has fewer."""
    claim = {"text": "A claim.", "activation": "raf"}

    def experiment(recipe, activation, seeds):
        axes = {"model.activation.name": [activation, "gelu"], "seed": list(range(seeds))}
        return {"recipe": recipe, "axes": axes}

    six, two = experiment("bert.yaml", "raf", 6), experiment("gpt.yaml", "raf", 2)
    assert "and tiny-gpt has 2" in problems(claim=claim, experiments=[six, two])
    more = {"recipe": "gpt.yaml", "axes": {"model.activation.name": ["raf"], "seed": list(range(6))}}
    assert "and tiny-gpt has 2" in problems(claim=claim, experiments=[two, more], baseline="gelu")


def test_axes_that_set_the_same(problems):
    axes = {"model.activation.name": ["gelu", "raf"], "model.activation": [{"name": "relu"}, {"name": "gelu"}]}
    text = problems(experiments=[{"recipe": "bert.yaml", "axes": axes}])
    assert "experiments.0.axes.model.activation.name: the axis 'model.activation' sets it too" in text
    assert "study.yaml:" in text


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (
            {"activation": "raff", "against": "silu"},
            "comparisons.0.activation: no run has the activation to compare, 'raff'",
        ),
        (
            {"activation": "raf", "against": "mish"},
            "comparisons.0.against: no run has the activation to compare, 'mish'",
        ),
        (
            {"activation": "raf", "against": "gelu"},
            "'gelu' is the baseline, which every activation is compared with anyway",
        ),
        ({"activation": "raf", "against": "raf"}, "comparisons.0: 'raf' beside itself"),
        ({"activation": "raf"}, "comparisons.0.against: missing"),
        ({"activation": "raf", "against": "silu"}, "comparisons.0: no model is trained with both"),
    ],
)
def test_a_stated_comparison_of_what_is_not_run(problems, stated, told):
    """The GPT has SiLU, the BERT has RAF."""
    bert = {"recipe": "bert.yaml", "axes": {"model.activation.name": ["gelu", "raf"]}}
    gpt = {"recipe": "gpt.yaml", "axes": {"model.activation.name": ["gelu", "silu"]}}
    text = problems(comparisons=[stated], experiments=[bert, gpt])
    assert told in text and text.count("comparisons.0") == 1


def test_two_are_compared_once(problems):
    axes = {"model.activation.name": ["gelu", "raf", "silu"]}
    one, other = {"activation": "raf", "against": "silu"}, {"activation": "silu", "against": "raf"}
    text = problems(comparisons=[one, other], experiments=[{"recipe": "bert.yaml", "axes": axes}])
    assert "comparisons.1: the same two are compared already" in text and "comparisons.0" not in text


@pytest.mark.parametrize("baseline", ["gelu", "gelu (tune=bitfit)", "gelu (tune=random-bias:45)"])
def test_a_baseline_may_be_a_label(study_file, tiny_recipe, baseline):
    tiny_recipe("bert")
    assert load_study(study_file(baseline=baseline)).study.baseline == baseline


def test_a_baseline_that_is_not_run(problems):
    assert "no run of experiment 1 has the baseline's activation, 'gel'" in problems(baseline="gel")
    assert "did you mean 'gelu'?" in problems(baseline="geluu (tune=bitfit)")


def test_a_baseline_may_be_another_experiments(study_file, tiny_recipe):
    tiny_recipe("bert")
    own = {"recipe": "bert.yaml", "axes": {"model.activation.name": ["gelu", "raf"]}}
    fixed = {"model.activation.name": ["raf"], "optimizer.activation.frozen": [True]}
    assert len(load_study(study_file(experiments=[own, {"recipe": "bert.yaml", "axes": fixed}])).jobs) == 3


def glue_study(study_file, tiny_recipe):
    tiny_recipe("bert")
    axes = {"model.activation.name": ["gelu", "raf"], "seed": [0, 1]}
    follow_ups = [{"finetune": name, "seeds": [0]} for name in ("glue", "squad", "probes")]
    return study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": follow_ups}])


def test_a_call_points_a_study_at_other_text_and_data(study_file, tiny_recipe, tmp_path):
    path = glue_study(study_file, tiny_recipe)
    changes = Changes(("budget.steps=3", "seed=9", "corpus.files=[other.txt]"), {"glue": str(tmp_path)})
    jobs = load_study(path, changes).jobs
    assert {job.recipe.budget.steps for job in jobs} == {3}
    assert {job.recipe.corpus.files[0] for job in jobs} == {"other.txt"}
    assert [job.recipe.seed for job in jobs] == [0, 1, 0, 1], "the study's axes stand above"
    assert [follow_up.data for follow_up in jobs[0].follow_ups] == [str(tmp_path), None, None]
    assert load_study(path).jobs[0].follow_ups[0].data is None


def test_a_call_changes_settings_of_the_follow_ups_called_so(study_file, tiny_recipe):
    tiny_recipe("bert")
    shared = {"train_size": 100, "epochs": 2}
    grid = {"lr": [1e-4, 1e-3], "weight_decay": [0, 0.1]}
    follow_ups = [
        {"finetune": "glue", "seeds": [0], "settings": shared, "grid": grid},
        {"finetune": "squad", "seeds": [0], "settings": shared},
    ]
    experiment = {"recipe": "bert.yaml", "axes": {"seed": [0]}, "follow_ups": follow_ups}
    path = study_file(experiments=[experiment])
    own, other = load_study(path, Changes(("glue.train_size=300", "glue.lr=3e-4"))).jobs[0].follow_ups
    assert (own.settings.train_size, own.settings.epochs, own.settings.lr) == (300, 2, 3e-4)
    assert own.grid.axes == ("weight_decay",), "one value was given in the place of a grid's"
    assert other == load_study(path).jobs[0].follow_ups[1]


def test_a_folder_is_no_tests_data_and_a_file_no_follow_ups(study_file, tiny_recipe, tmp_path):
    tiny_recipe("bert")
    (file := tmp_path / "own.json").touch()
    (other := tmp_path / "other.json").touch()
    follow_up = {"finetune": "squad", "seeds": [0], "transfer": [{"task": "squad", "data": str(file)}]}
    path = study_file(experiments=[{"recipe": "bert.yaml", "axes": {"seed": [0]}, "follow_ups": [follow_up]}])
    for given, expected in ((tmp_path, (str(tmp_path), str(file))), (other, (None, str(other)))):
        (found,) = load_study(path, Changes(data={"squad": str(given)})).jobs[0].follow_ups
        assert (found.data, found.transfer[0].data) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (Changes(("budget.step=3",)), "--set budget.step=3: budget.step: unknown key"),
        (Changes(("budget",)), "expected key=value"),
        (
            Changes(("glue.train_sise=3",)),
            "--set glue.train_sise=3: experiments.0.follow_ups.0.settings.train_sise: unk",
        ),
        (Changes(("glue=3",)), "--set glue=3: 'glue' is a follow-up (a setting of it is meant"),
        (Changes(("glu.epochs=3",)), "--set glu.epochs=3: glu: unknown key"),
        (Changes(data={"glu": "."}), "no follow-up is called 'glu' (did you mean 'glue'?)"),
        (Changes(data={"glue": "nowhere"}), "--data glue=nowhere: experiments.0.follow_ups.0.data: no such folder"),
        (Changes(data={"probes": "."}), "data is for glue"),
    ],
)
def test_what_a_call_cannot_change(study_file, tiny_recipe, changes, expected):
    with pytest.raises(BadInput) as caught:
        load_study(glue_study(study_file, tiny_recipe), changes)
    assert expected in str(caught.value)


def test_the_command_line_says_it(actbench, study_file, tiny_recipe, corpus_file):
    path = study_file()
    tiny_recipe("bert")
    done = actbench("study", "status", path, "--set", "budget.steps=7", "--json", check=0)
    assert '"total": 7' in done.stdout and '"total": 12' not in done.stdout
    assert "expected NAME=DIR" in actbench("study", "plan", path, "--data", "glue", check=2).stderr
