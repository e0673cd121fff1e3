"""Metrics of classification, from logits and targets.

Letters: n examples, C classes.
"""

from collections.abc import Sequence

import numpy as np

METRICS = ("loss", "accuracy", "precision", "recall", "f1", "ece")
BINS = 15  # of confidence, for the calibration error


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n, C) → (n, C) probabilities, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def cross_entropy(logits: np.ndarray, gold: np.ndarray) -> float:
    """The mean over all examples of -log p(gold), from (n, C) logits and (n,) class numbers, in nats."""
    logits = logits.astype(np.float64)
    highest = logits.max(axis=1)
    log_total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float((log_total - logits[np.arange(len(gold)), gold]).mean())


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(n,) probabilities → (n,) numbers of bins of equal width, each without its lower edge and with its upper one."""
    return np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="left") - 1, 0, bins - 1)


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The mean distance between confidence and accuracy (Guo et al. 2017, arXiv:1706.04599, equation 3).

    confidence: (n,) the probability of the predicted class ("top label"). right: (n,) whether the prediction is right.
    """
    gaps = np.bincount(bin_of(confidence, bins), right - confidence, bins)  # n_b · (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def scores(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as unweighted means over `labels` (a class never predicted counts 0)."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support  # takes a second

    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, labels=list(labels), average="macro", zero_division=0
    )
    found = {"accuracy": accuracy_score(gold, predicted), "precision": precision, "recall": recall, "f1": f1}
    return {name: float(score) for name, score in found.items()}


def measure(logits: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """All METRICS of (n, C) logits against (n,) class numbers, in that order; ValueError without an example."""
    if not len(gold):
        raise ValueError("nothing to measure: there is no example")
    probabilities = softmax(logits)
    predicted = probabilities.argmax(axis=1)
    names = np.array(labels)
    return {
        "loss": cross_entropy(logits, gold),
        **scores(names[gold].tolist(), names[predicted].tolist(), labels),
        "ece": expected_calibration_error(probabilities.max(axis=1), predicted == gold),
    }


def scores_of_ranks(found: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """(n,) numbers of which only the order was learned → (n,) of the n scores that of the same rank; between two of
    them for equal numbers."""
    from scipy.stats import rankdata  # takes a second

    return np.interp(rankdata(found), np.arange(1, len(gold) + 1), np.sort(gold))
