"""What a study will take, and how far it is: from its file and the store alone."""

import json

import pytest
from studies import Here, carry_out, planned

from actbench.cli import study as cli
from actbench.cli import study_plan, study_status
from actbench.errors import BadInput
from actbench.store import claim
from actbench.store.atomic import write_json
from actbench.study import speed
from actbench.study.estimate import BYTES_A_PARAMETER, estimate
from actbench.study.status import Progress, counts, status
from actbench.training.peak import Peak

STEPS, TOKENS_A_STEP = 12, 8 * 32
PROBES = {"finetune": "probes", "seeds": [0, 1], "tasks": ["probe_swap"], "settings": {"train_size": 20, "epochs": 1}}


@pytest.fixture
def path(study_file, tiny_recipe, monkeypatch):
    """GELU and RAF in a tiny BERT, one seed, each fine-tuned twice and measured once, on a machine of known speed."""
    monkeypatch.setattr(speed, "measured_peak", lambda precision, device: Peak(1e9, 512))
    tiny_recipe("bert")
    axes = {"model.activation.name": ["gelu", "raf"]}
    follow_ups = [PROBES, {"eval": "perplexity"}]
    return study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": follow_ups}])


def test_a_plan_counts_what_is_to_do_and_trains_nothing(path, tmp_path):
    graph = planned(path)
    found = estimate(graph)
    assert (found.runs, found.finished) == (2 * (1 + 2 + 1), 0)
    assert found.tokens == 2 * STEPS * TOKENS_A_STEP
    model = graph.nodes[0].plan.model
    first = found.parts[0]
    assert first.disk_bytes == BYTES_A_PARAMETER * model["parameters"]
    rate = speed.UNCOMPILED * 1e9 / model["flops_per_token"]
    validations = 3 * 16 * 32 / 3  # after steps 5, 10 and 12; 16 sequences; a third of the work
    assert first.seconds == pytest.approx((STEPS * TOKENS_A_STEP + validations) / rate)
    assert first.basis == "from FLOPs" and any("1 GFLOP" in s or "0.001 TFLOP/s" in s for s in found.basis)
    assert not (tmp_path / "runs").exists()


def test_a_plan_counts_the_pass_by_which_a_mixture_looks_ahead(study_file, tiny_recipe, monkeypatch):
    monkeypatch.setattr(speed, "measured_peak", lambda precision, device: Peak(1e9, 512))
    tiny_recipe("gpt", model={"d_ff": None, "moe": {"experts": 4, "d_expert": 24, "top_k": 2}}, batch={"accumulate": 2})
    axes = {"model.moe.load_balance_over": ["step", "micro_batch"]}
    once_more, once = estimate(planned(study_file(experiments=[{"recipe": "gpt.yaml", "axes": axes}]))).parts
    assert once_more.seconds == pytest.approx(once.seconds * 4 / 3)


def test_a_plan_goes_by_what_was_measured_here(path, tmp_path, monkeypatch):
    def never(precision, device):
        raise AssertionError("a peak is measured only where no run tells how fast a model is")

    graph = planned(path)
    here = Here(tmp_path / "runs")
    here.submit(graph.next_tasks(graph.nodes[0], retry=False))
    here.ended()
    here.submit(graph.next_tasks(graph.nodes[0], retry=False)[:1])
    here.ended()
    monkeypatch.setattr(speed, "measured_peak", never)
    found = estimate(graph)
    assert (found.runs, found.finished, found.tokens) == (8, 3, STEPS * TOKENS_A_STEP)
    done, tuned, evaluated, left, left_tuned, _ = found.parts
    assert (done.seconds, done.tokens, done.disk_bytes) == (0, 0, 0) == (tuned.seconds, tuned.tokens, tuned.disk_bytes)
    assert evaluated.finished == 0 and evaluated.seconds > 0
    assert left.basis == "measured with another activation" and left_tuned.basis == "measured"
    summary = graph.nodes[0].run.summary
    assert left.seconds >= STEPS * TOKENS_A_STEP / summary["tokens_per_second"]
    elsewhere = graph.nodes[0].run.info
    for section, key in (("batch", "separate_documents"), ("model", "head_gelu")):
        del elsewhere["recipe"][section][key]  # as a version that did not know them recorded it
    write_json(graph.nodes[0].run.folder / "run.json", elsewhere)
    assert estimate(graph).parts[3].basis == "measured with another activation"
    elsewhere["environment"]["processor"] = "another"
    write_json(graph.nodes[0].run.folder / "run.json", elsewhere)
    with pytest.raises(AssertionError, match="a peak is measured"):
        estimate(graph)


def test_jobs_compile_side_by_side(path, tiny_recipe, monkeypatch):
    tiny_recipe("bert", hardware={"compile": "auto"})
    graph = planned(path)
    if not graph.nodes[0].plan.hardware.compiled:
        pytest.skip("no compiler")
    one, two = estimate(graph), estimate(graph, jobs=2)
    assert [part.once_seconds for part in one.parts] == [30, 0, 0, 30, 0, 0]
    assert two.seconds == pytest.approx(one.seconds - 30)


def test_a_budget_in_minutes_is_its_own_estimate(path, tiny_recipe):
    tiny_recipe("bert", budget={"steps": None, "minutes": 2.0})
    found = estimate(planned(path))
    assert found.parts[0].seconds == 120 and found.parts[0].basis == "its budget"
    pass_ = sum(part.seconds for part in found.parts if part.basis == "its budget")
    assert found.seconds - estimate(planned(path), jobs=2).seconds == pytest.approx(pass_ / 2), (
        "two budgets pass at once"
    )


def test_a_status_tells_every_state(path, tmp_path):
    graph = planned(path)
    assert [line.state for line in status(graph)] == ["to do", "waiting", "waiting"] * 2
    gelu, raf = graph.nodes
    with claim(gelu.run.folder) as writer:
        writer.log({"kind": "train", "step": 3, "seconds": 1.0, "loss": 5.5, "tokens_per_second": 100.0})
        line = status(graph)[0]
    assert (line.state, line.done, line.total, line.loss) == ("running", 3, STEPS, 5.5)
    assert line.seconds_left == pytest.approx((STEPS - 3) * TOKENS_A_STEP / 100)
    assert status(graph)[0].state == "interrupted"
    with claim(raf.run.folder) as writer:
        writer.fail("no room")
    assert status(graph)[3].failed == {raf.run.id: "no room"}
    carry_out(path)
    lines = status(graph)
    assert counts(lines) == {"finished": 3, "failed": 1, "waiting": 2}
    assert [(line.done, line.total) for line in lines[:3]] == [(STEPS, STEPS), (2, 2), (1, 1)]
    carry_out(path, retry=True)
    assert counts(status(graph)) == {"finished": 6}


def test_the_commands_show_the_same(path, tmp_path, capsys):
    """Tables for a person, one object for a machine, and a report of what there is."""
    runs = tmp_path / "runs"
    with pytest.raises(BadInput, match="none of its runs is finished"):
        cli.report(path, runs)
    graph = planned(path)
    here = Here(runs)
    here.submit(graph.next_tasks(graph.nodes[0], retry=False))
    here.ended()
    shown = output(capsys, study_plan.plan, path, 1, runs)
    assert "8 runs, 1 of them finished" in shown and "measured with another activation" in shown
    facts = json.loads(output(capsys, study_plan.plan, path, 1, runs, as_json=True))
    assert facts["tokens"] == STEPS * TOKENS_A_STEP and facts["hours"] > 0
    facts = json.loads(output(capsys, study_status.status, path, False, runs, as_json=True))
    assert facts["counts"] == {"finished": 1, "to do": 3, "waiting": 2}
    assert graph.nodes[0].run.id in output(capsys, study_status.status, path, False, runs)
    report = json.loads(output(capsys, cli.report, path, runs, as_json=True))
    assert report["finished"] == 1 and (tmp_path / report["report"]).exists()


def output(capsys, command, *arguments, **options):
    """What the command prints on stdout."""
    capsys.readouterr()
    command(*arguments, **options)
    return capsys.readouterr().out


def test_runs_whose_names_are_alike_are_told_by_what_differs(study_file, tiny_recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "measured_peak", lambda precision, device: Peak(1e9, 512))
    tiny_recipe("bert", optimizer={"lr": 1e-3})
    norms = [{"name": "poly_norm"}, {"name": "poly_norm", "order": 2}, {"name": "gelu"}]
    rates = {"model.activation.name": ["poly_norm"], "seed": [1], "optimizer.lr": [5e-4, 1e-3]}
    slow = {"model.activation.name": ["poly_norm"], "optimizer.activation.lr": [1e-4]}
    axes = ({"model.activation": norms}, rates, slow)
    probes = [{**PROBES, "settings": {"train_size": n, "epochs": 1}} for n in (20, 40)]
    follow_ups = [[], probes, []]
    path = study_file(
        experiments=[
            {"recipe": "bert.yaml", "axes": one, "follow_ups": after}
            for one, after in zip(axes, follow_ups, strict=True)
        ],
        baseline="poly_norm",
    )
    lines = status(planned(path))
    tuned = ["  finetune probes train=20", "  finetune probes train=40"]
    assert [line.title if line.is_follow_up else line.label for line in lines] == [
        "", "order=2", "", "lr=0.0005", *tuned, "lr=0.001", *tuned, "activation.lr=0.0001"
    ]  # fmt: skip
    for command, arguments in ((study_plan.plan, (1,)), (study_status.status, (False,))):
        shown = output(capsys, command, path, *arguments, tmp_path / "runs")
        assert f"{lines[1].title} order=2  " in shown and f"{lines[3].title} lr=0.0005  " in shown
        assert max(map(len, shown.partition("\n\n")[0].splitlines())) <= 100


def test_watching_ends_when_all_is_finished(path, tmp_path, monkeypatch, capsys):
    graph = planned(path)
    naps: list[float] = []

    def nap(seconds):
        naps.append(seconds)
        carry_out(path)

    monkeypatch.setattr(study_status.time, "sleep", nap)
    study_status._watch(graph)
    assert len(naps) == 1
    assert "6 finished" in capsys.readouterr().out


def test_watching_ends_when_only_failures_are_left(path, tmp_path, actbench):
    for node in planned(path).nodes:
        with claim(node.run.folder) as writer:
            writer.fail("no room")
    shown = actbench("study", "status", path, "--watch", check=0).stdout
    assert "2 failed, 4 waiting" in shown and shown.count("no room") == 2


def test_what_is_urgent_comes_first_with_its_model():
    def line(title, state):
        return Progress(title, state, 0, 1)

    quiet = [line("a", "finished"), line("  finetune", "to do")]
    urgent = [line("b", "finished"), line("  finetune", "finished"), line("  eval", "failed")]
    assert study_status._urgent_first([*quiet, *urgent]) == [*urgent, *quiet]
