"""What all tests share: one thread, one token cache, no network, and a tiny recipe that trains in seconds."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several workers with several threads each would fight for the cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_COLOR"] = "1"

import subprocess
import sys
from pathlib import Path

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


@pytest.fixture
def tiny_recipe(tmp_path, corpus_file):
    """Writes a recipe that trains a two-layer model in a second or two; call it with "bert" or "gpt"."""

    def write(family="bert", **sections):
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
        path = tmp_path / f"{family}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return write


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
def actbench(tmp_path):
    """Runs the installed command in a fresh folder and returns the finished process."""

    def run(*arguments, timeout=120, check=None, **environment):
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check is not None:
            assert done.returncode == check, done.stderr + done.stdout
        return done

    return run


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
