"""What all tests share: one thread, one token cache, no network, and a tiny recipe that trains in seconds."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several workers with several threads each would fight for the cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_COLOR"] = "1"

import subprocess
import sys
from functools import partial
from pathlib import Path

import forked
import pytest

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).parent / "actbench"


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory, worker_id):
    """One token cache for the whole session, shared by all workers."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "actbench-cache"


@pytest.fixture(scope="session", autouse=True)
def _use_cache(cache_folder):
    os.environ["ACTBENCH_CACHE"] = str(cache_folder)


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory):
    """A few hundred short documents of varied made-up prose, one a line."""
    import json

    import numpy as np

    random = np.random.default_rng(0)
    text = "the a one small old river stone house wind child sees holds finds carries under over near with and"
    words = text.split()
    path = tmp_path_factory.mktemp("corpus") / "prose.jsonl"
    with path.open("w") as file:
        for _ in range(400):
            sentences = [" ".join(random.choice(words, random.integers(5, 12))).capitalize() + "." for _ in range(8)]
            file.write(json.dumps({"text": " ".join(sentences)}) + "\n")
    return path


def write_recipe(folder, corpus_file, family="bert", **sections):
    """Writes a recipe that trains a two-layer model in a second or two."""
    import yaml

    recipe = {
        "name": f"tiny-{family}",
        "model": {"family": family, "n_layers": 2, "d_model": 32, "n_heads": 2, "d_ff": 64, "dropout": 0.1},
        "corpus": {"source": "files", "files": [str(corpus_file)]},
        "tokenizer": {"kind": "wordpiece" if family == "bert" else "byte_bpe", "vocab_size": 400},
        "batch": {"sequences": 8, "length": 32},
        "budget": {"steps": 12},
        "validation": {"fraction": 0.1, "sequences": 16, "every_steps": 5},
        "checkpoint": {"every_steps": 4},
        "hardware": {"compile": "never"},
        "logging": {"every_steps": 1},
    }
    for name, section in sections.items():
        recipe[name] = {**recipe.get(name, {}), **section} if isinstance(section, dict) else section
    path = folder / f"{family}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture
def tiny_recipe(tmp_path, corpus_file):
    """Writes a recipe that trains in seconds; call it with "bert" or "gpt" and the sections that differ."""
    return partial(write_recipe, tmp_path, corpus_file)


@pytest.fixture(scope="session")
def decoder(tmp_path_factory, corpus_file):
    """A finished tiny GPT that has begun to learn which words there are."""
    from actbench.config import load_recipe
    from actbench.training.plan import plan
    from actbench.training.pretrain import pretrain

    folder = tmp_path_factory.mktemp("decoder")
    recipe = load_recipe(write_recipe(folder, corpus_file, "gpt", budget={"steps": 20}, optimizer={"lr": 1e-2}))
    return pretrain(plan(recipe, folder / "runs", lambda _: None), resume=False, say=lambda _: None)


@pytest.fixture
def study_file(tmp_path):
    """Writes a study: GELU and RAF in the tiny BERT, unless a keyword says otherwise."""

    def write(**changes):
        import yaml

        experiment = {"recipe": "bert.yaml", "axes": {"model.activation.name": ["gelu", "raf"]}}
        data = {"name": "small", "title": "A small study", "experiments": [experiment], **changes}
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


@pytest.fixture
def installed(tmp_path):
    """Runs the installed command in a fresh folder and a fresh process, as a user does; returns the finished process.

    Slow where torch is needed. `actbench` is the same in a process that has its libraries already.
    """

    def run(*arguments, timeout=250, check=None, **environment):
        words = [COMMAND, *map(str, arguments)]
        variables = {**os.environ, **environment}
        done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=timeout)
        return _checked(done, check)

    return run


@pytest.fixture
def actbench(tmp_path, installed):
    """Runs the command in a fresh folder, in a forked process (see forked.py), and returns the finished process.

    A variable that is given may be one that is read when Python or a library starts: then the process is a fresh one.
    """

    def run(*arguments, timeout=250, check=None, **environment):
        if environment:
            return installed(*arguments, timeout=timeout, check=check, **environment)
        return _checked(forked.run([str(word) for word in arguments], tmp_path, timeout), check)

    return run


def _checked(done, code):
    if code is not None:
        assert done.returncode == code, done.stderr + done.stdout
    return done


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a text into the working folder, so that a message names the file by its bare name."""
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="r.yaml"):
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write_file


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    """A real Slurm of one node and two cores, as the environment in which its commands find it."""
    import slurm_service

    if reason := slurm_service.missing():
        pytest.skip(reason)
    with slurm_service.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """A real Ray of two nodes, each with one core."""
    import ray_service

    if reason := ray_service.missing():
        pytest.skip(reason)
    with ray_service.ray_cluster(tmp_path_factory.mktemp("ray")) as cluster:
        yield cluster
