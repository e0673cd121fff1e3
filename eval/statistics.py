"""How far would the scores of one judgement go up and down with other texts of the same kind?

Letters: n texts, C classes.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from .judge import Judgement
from .tasks.metrics import macro_f1

SURE = 0.05  # a p below it is called a difference
DRAWS = 2_000
AT_ONCE = 2**21  # counts in memory at a time: 16 MiB
BINS = 15  # as in metrics.expected_calibration_error


def intervals(judgement: Judgement, labels: Sequence[str]) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy and macro-F1, and of loss and ECE where the judgement has them.

    The bootstrap (Efron 1979, Annals of Statistics 7): a draw takes n of the n texts, with repetition, and is scored.
    The interval holds 95 % of the draws ("percentile"). Only texts vary: other seeds would add to it.

    ECE is another matter. By chance alone, few texts seem worse calibrated than many, and draws seem worse again by
    about as much. So its draws are mirrored at the score ("basic bootstrap"; Davison & Hinkley 1997, section 5.2), and
    the interval goes down from the score rather than up; it is cut at 0, and made to hold the score. Even so it is too
    high for a model that is calibrated nearly perfectly.

    Args:
        judgement: of n texts, at least one.
        labels: the data's, of which macro-F1 is the mean.

    Returns:
        Name → (low, high), in the units of `judgement.metrics`; the same each time.
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
        low, high = np.quantile(np.concatenate([part[name] for part in parts]), [0.025, 0.975])
        if name == "ece":
            score = judgement.metrics["ece"]
            assert score is not None  # else it was not drawn
            low, high = max(0.0, 2 * score - high), max(score, 2 * score - low)
        found[name] = (float(low), float(high))
    return found


def drawn_scores(judgement: Judgement, labels: Sequence[str], draws: np.ndarray) -> dict[str, np.ndarray]:
    """How often each text was drawn (draws, n) → scores (draws,); every score is made of sums over texts."""
    gold, predicted, probabilities = np.array(judgement.gold), np.array(judgement.predicted), judgement.probabilities
    texts, draws = np.arange(len(gold)), draws.astype(float)
    right = gold == predicted
    is_gold, is_predicted = (np.stack([side == label for label in labels], axis=1) for side in (gold, predicted))
    hits, both = draws @ (is_gold & is_predicted), draws @ (is_gold.astype(float) + is_predicted)  # (draws, C)
    scores = {"accuracy": draws @ right / len(gold), "f1": macro_f1(hits, both)}
    if judgement.metrics["loss"] is not None:
        column = [judgement.model_labels.index(label) for label in judgement.gold]
        smallest = np.finfo(float).tiny  # so that a probability that was rounded to 0 does not make all draws infinite
        scores["loss"] = draws @ -np.log(probabilities[texts, column].clip(min=smallest)) / len(gold)
    if judgement.metrics["ece"] is not None:
        confidence = probabilities.max(axis=1)
        bins = np.searchsorted(np.linspace(0, 1, BINS + 1), confidence, side="left") - 1
        gaps = np.zeros((len(gold), BINS))
        gaps[texts, bins.clip(0, BINS - 1)] = right - confidence
        scores["ece"] = np.abs(draws @ gaps).sum(axis=1) / len(gold)
    return scores


def holm(ps: Sequence[float]) -> list[float]:
    """p of several comparisons → corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = highest
    return corrected


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The exact test of McNemar 1947 for what two have right (n,): where only one has, is it too often the same?"""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def p_value(p: float, digits: int = 3) -> str:
    """A p, which is never 0."""
    least = 10**-digits
    return f"{p:.{digits}f}" if p >= least else f"<{least:.{digits}f}"
