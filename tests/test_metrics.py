"""A task's scores are those of scikit-learn and scipy, and numbers even for a model that learned nothing."""

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.data.tasks import Task
from actbench.errors import RunFailed
from actbench.evaluation.metrics import score

BINARY = Task("t", "classification", ("no", "yes"), ("accuracy", "f1", "matthews"))
THREE = Task("t", "classification", ("a", "b", "c"), ("accuracy", "matthews"))
SCORES = Task("t", "regression", (), ("pearson", "spearman"))


def columns(values: st.SearchStrategy, min_size: int = 1) -> st.SearchStrategy:
    """Predictions and labels of the same length."""
    return st.lists(st.tuples(values, values), min_size=min_size, max_size=60).map(
        lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True))
    )


@settings(max_examples=60, deadline=None)
@given(columns(st.integers(0, 1)))
def test_binary_scores_are_scikit_learns(rows: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = rows
    found = score(BINARY, predictions, labels)
    assert found["accuracy"] == sklearn.metrics.accuracy_score(labels, predictions)
    assert found["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predictions, zero_division=0), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a single label
        expected = sklearn.metrics.matthews_corrcoef(labels, predictions)
    assert found["matthews"] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(columns(st.integers(0, 2)))
def test_matthews_of_three_classes_is_scikit_learns(rows: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn.metrics.matthews_corrcoef(labels, predictions)
    assert score(THREE, predictions, labels)["matthews"] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(columns(st.integers(-50, 50).map(lambda n: n / 8), min_size=3))
def test_correlations_are_those_of_the_definitions(rows: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = rows
    found = score(SCORES, predictions, labels)
    ranks = [scipy.stats.rankdata(column) for column in rows]
    for name, (x, y) in {"pearson": rows, "spearman": ranks}.items():
        varied = np.ptp(x) > 0 and np.ptp(y) > 0
        assert found[name] == pytest.approx(np.corrcoef(x, y)[0, 1] if varied else 0.0, abs=1e-9)


def test_the_headline_of_two_metrics_is_their_mean() -> None:
    task = Task("t", "classification", ("no", "yes"), ("accuracy", "f1"))
    assert task.headline == "mean"
    found = score(task, np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
    assert found == {"accuracy": 0.75, "f1": pytest.approx(2 / 3), "mean": pytest.approx((0.75 + 2 / 3) / 2)}


def test_the_headline_of_one_metric_is_that_metric() -> None:
    task = Task("t", "classification", ("no", "yes"), ("matthews",))
    assert task.headline == "matthews"
    assert score(task, np.array([0, 1]), np.array([0, 1])) == {"matthews": pytest.approx(1.0)}


@pytest.mark.parametrize("predictions", [np.full(5, 0.1), np.float32([0.3] * 5)])
def test_a_constant_answer_scores_zero_without_a_warning(predictions: np.ndarray) -> None:
    labels = np.arange(5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(SCORES, predictions, labels) == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}
        assert score(SCORES, labels, predictions) == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}
        ones = np.ones(5, dtype=int)
        assert score(BINARY, ones, ones)["matthews"] == 0.0
        assert score(BINARY, 0 * ones, ones)["f1"] == 0.0


def test_one_example_has_no_correlation() -> None:
    assert score(SCORES, np.array([1.0]), np.array([2.0]))["pearson"] == 0.0


def test_a_nearly_constant_answer_warns_nobody() -> None:
    predictions = 1.0 + np.array([0, 2e-16, 0, 4e-16])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(score(SCORES, predictions, np.arange(4.0))["pearson"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_no_number_is_a_failed_run(bad: float) -> None:
    with pytest.raises(RunFailed, match="t: a prediction is not a number"):
        score(SCORES, np.array([0.5, bad]), np.array([0.0, 1.0]))


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 1), (2,)), ((2, 1), (2, 1)), ((0,), (0,))])
def test_shapes_that_do_not_agree_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="must be"):
        score(SCORES, *(np.zeros(shape) for shape in shapes))
