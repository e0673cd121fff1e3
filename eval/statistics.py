"""Confidence intervals, significance tests, and corrections for several of them.

Letters: n texts, S runs, C classes.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from .judge import Judgement
from .tasks.metrics import BINS, bin_of

ALPHA = 0.05  # the level of significance
RISE = 0.01  # nats, the least change of a loss that is called a rise
DRAWS = 2_000  # of the bootstrap
AT_ONCE = 2**21  # counts in memory at a time: 16 MiB
PERCENTILES = [0.025, 0.975]  # between which 95 % of the draws lie


def intervals(judgement: Judgement, labels: Sequence[str]) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy and macro-F1, and of loss and ECE where the judgement has them.

    The bootstrap (Efron 1979, Annals of Statistics 7): a draw takes n of the n texts with repetition, and is scored;
    the interval lies between percentiles of the draws. Only texts vary, not the seed of the training.

    The ECE of few texts is biased upwards, and that of a draw once more by about as much. Its draws are therefore
    mirrored at the score ("basic bootstrap"; Davison & Hinkley 1997, section 5.2), cut at 0, and the interval is
    widened to hold the score. For a model that is calibrated nearly perfectly it is still too high.

    labels: the data's, of which macro-F1 is the mean. Returns name → (low, high), the same at each call.
    """
    n = len(judgement.examples)
    random = np.random.default_rng(0)
    size = max(1, AT_ONCE // n)
    parts = [
        drawn_scores(judgement, labels, random.multinomial(n, np.full(n, 1 / n), size=min(size, DRAWS - start)))
        for start in range(0, DRAWS, size)
    ]
    found = {}
    for name in parts[0]:
        low, high = np.quantile(np.concatenate([part[name] for part in parts]), PERCENTILES)
        if name == "ece":
            score = judgement.metrics["ece"]
            assert score is not None  # else it was not drawn
            low, high = max(0.0, 2 * score - high), max(score, 2 * score - low)
        found[name] = (float(low), float(high))
    return found


def drawn_scores(judgement: Judgement, labels: Sequence[str], draws: np.ndarray) -> dict[str, np.ndarray]:
    """How often each text was drawn, (draws, n) → the scores of the judgement, which are sums over texts: (draws,)."""
    gold, predicted, probabilities = np.array(judgement.gold), np.array(judgement.predicted), judgement.probabilities
    texts, draws = np.arange(len(gold)), draws.astype(float)
    scores = drawn_class_scores(gold, predicted[None], labels, draws)
    if judgement.metrics["loss"] is not None:
        column = [judgement.model_labels.index(label) for label in judgement.gold]
        smallest = np.finfo(float).tiny  # a probability that was rounded to 0 would make the loss infinite
        scores["loss"] = draws @ -np.log(probabilities[texts, column].clip(min=smallest)) / len(gold)
    if judgement.metrics["ece"] is not None:
        confidence = probabilities.max(axis=1)
        gaps = np.zeros((len(gold), BINS))
        gaps[texts, bin_of(confidence)] = (gold == predicted) - confidence
        scores["ece"] = np.abs(draws @ gaps).sum(axis=1) / len(gold)
    return scores


def drawn_class_scores(
    gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str], draws: np.ndarray
) -> dict[str, np.ndarray]:
    """Accuracy and macro-F1 of each draw, (draws,) each, as means over S runs.

    gold: (n,) labels. predicted: (S, n) labels. draws: (draws, n) floats, how often each text was drawn.
    """
    names = np.array(labels)[:, None]
    is_gold, is_predicted = gold == names, predicted[:, None] == names  # (C, n), (S, C, n)
    counted = np.stack([is_gold & is_predicted, is_gold.astype(int) + is_predicted], axis=-1)  # (S, C, n, 2)
    counts = np.tensordot(draws, counted.astype(draws.dtype), axes=(1, 2)).astype(float)  # (draws, S, C, 2)
    hits, both = counts[..., 0], counts[..., 1]
    f1 = np.divide(
        2 * hits, both, out=np.zeros_like(hits), where=both > 0
    )  # 0 where a class is neither true nor predicted
    return {"accuracy": hits.sum(axis=2).mean(axis=1) / len(gold), "f1": f1.mean(axis=2).mean(axis=1)}


def holm(ps: Sequence[float]) -> list[float]:
    """p of several comparisons → corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = highest
    return corrected


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """p of the exact test of McNemar 1947, from which texts two classifiers have right: (n,) bool each."""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def p_value(p: float, digits: int = 3) -> str:
    """A p to be read, which is never 0."""
    least = 10**-digits
    return f"{p:.{digits}f}" if p >= least else f"<{least:.{digits}f}"
