"""A task's metrics. What GLUE leaves undefined (nan) for a model that always answers the same is 0 here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from actbench.data.tasks import MEAN, Task
from actbench.errors import RunFailed


def score(task: Task, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """All of the task's metrics by name, and its headline.

    `predictions` and `labels` are (N,): class indices, or scores where the task is a regression.
    Matthews, Pearson and Spearman correlation are in [-1, 1], and 0 where either side is constant: such an
    answer says nothing about the labels. Accuracy and F1 (of class 1; 0 where nothing is 1) are in [0, 1].
    Raises ValueError for shapes that disagree or are empty, RunFailed for a prediction that is not finite.
    """
    if predictions.ndim != 1 or predictions.shape != labels.shape or not len(labels):
        raise ValueError(f"predictions {predictions.shape} and labels {labels.shape} must be (N,) with N > 0")
    if not np.isfinite(predictions).all():
        raise RunFailed(f"{task.name}: a prediction is not a number, so the model cannot be scored")
    scores = {metric: _METRICS[metric](predictions, labels) for metric in task.metrics}
    if task.headline == MEAN:
        scores[MEAN] = sum(scores.values()) / len(scores)
    return scores


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    import torch
    from torchmetrics.functional.classification import binary_f1_score

    as_classes = (torch.from_numpy(x.astype(np.int64)) for x in (predictions, labels))
    return float(binary_f1_score(*as_classes))


def _matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    import torch
    from torchmetrics.functional.classification import multiclass_matthews_corrcoef

    if _constant(predictions) or _constant(labels):
        return 0.0  # the library answers 1 or -1 where there is one class only
    as_classes = [torch.from_numpy(x.astype(np.int64)) for x in (predictions, labels)]
    n_classes = 1 + max(int(x.max()) for x in as_classes)
    return float(multiclass_matthews_corrcoef(*as_classes, num_classes=n_classes))


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, labels)


def _spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, labels)


def _correlation(measure: Callable[..., Sequence[float]], predictions: np.ndarray, labels: np.ndarray) -> float:
    if _constant(predictions) or _constant(labels):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an almost constant answer is a poor model, not a user's mistake
        return float(measure(predictions.astype(np.float64), labels.astype(np.float64))[0])


def _constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
