"""Logits and the right answers → numbers.

Letters: n examples, C classes.
"""

from collections.abc import Sequence

import numpy as np

METRICS = ("loss", "accuracy", "precision", "recall", "f1", "ece")


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


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """How far confidence is from accuracy on average (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Args:
        confidence: (n,) the probability of the predicted class ("top label").
        right: (n,) whether the prediction is right.
        bins: equal widths, each without its lower edge and with its upper one.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)  # n_b · (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def scores(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as unweighted means over `labels` (a class never predicted counts 0)."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support  # takes a second

    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, labels=list(labels), average="macro", zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def macro_f1(hits: np.ndarray, both: np.ndarray) -> np.ndarray:
    """The mean over the classes (…, C) → (…), from how many are of a class and called so, and how many are of it plus
    how many are called so; a class with neither counts 0."""
    return np.divide(2 * hits, both, out=np.zeros_like(hits, dtype=float), where=both > 0).mean(axis=-1)


def measure(logits: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """All METRICS of (n, C) logits against (n,) class numbers, in that order.

    Raises:
        ValueError: there is no example.
    """
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
