"""Which labels look wrong? Confident learning: what a model is sure of that never saw the label.

Source: Northcutt, Jiang & Chuang 2021, "Confident Learning" (arXiv:1911.00068), section 3.

Letters: n texts, H hidden size, C classes.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..progress import progress_bar

SLACK = 1e-6  # a mean of equal numbers may come out a little above them


@dataclass(frozen=True)
class Suspect:
    """A text whose label looks wrong. It need not be: the model may err, or the text belong to both classes."""

    index: int  # of the text, from 0
    given: int  # the class that it is labelled with
    suggested: int  # the class that the model is confident of
    self_confidence: float  # the probability of `given`
    suggested_confidence: float  # the probability of `suggested`

    @property
    def margin(self) -> float:
        """How much likelier the suggested class is than the given one; below 0 where it passed a lower threshold."""
        return self.suggested_confidence - self.self_confidence


def out_of_sample(
    representations: np.ndarray,
    labels: np.ndarray,
    teaching: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: str | None = None,
) -> np.ndarray:
    """Probabilities for each text by a logistic regression that was fitted on the other folds only.

    The representations should not know the labels either: an encoder that was fine-tuned on them long enough has
    learned the wrong ones by heart, and then its vectors tell them, in whichever fold the text is.

    Args:
        representations: (n, H) fixed vectors; each of the H numbers is scaled to mean 0 and deviation 1.
        labels: (n,) class numbers.
        teaching: (n,) bool, which of them may be learned from: those of the training split, so that what is done
            about suspects there owes nothing to the labels of dev and test. By default all.
        folds: each has its share of every class. A class with fewer texts than folds is missing in some of them, which
            does no harm: all its texts but one are there to learn from.
        seed: decides which text is in which fold.
        progress: a title for a progress bar; without it, or without a terminal, there is none.

    Returns:
        (n, C), float64, where C - 1 is the greatest label; a class that nothing teaches has probability 0.

    Raises:
        ValueError: there are fewer than two folds or classes to learn from, or a class has a single text.
    """
    teaching = np.ones(len(labels), dtype=bool) if teaching is None else teaching
    classes, sizes = np.unique(labels[teaching], return_counts=True)
    if folds < 2 or len(classes) < 2:
        raise ValueError(f"label suspects need at least two folds and two classes, not {folds} and {len(classes)}")
    if sizes.min() < 2:
        raise ValueError(
            f"class {classes[sizes.argmin()]} has a single text: nothing is left to learn it from when this one is "
            "left out; leave the text out, or join the class with another"
        )
    fold = np.zeros(len(labels), dtype=int)
    for part in (teaching, ~teaching):
        fold[part] = deal(labels[part], folds, seed)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for number in progress_bar(np.unique(fold), progress, "fold"):
        out = fold == number
        # Of the C from 0.003 to 1, this one found planted errors best (5 % of the labels of JRTE, encoder mini).
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(representations[teaching & ~out], labels[teaching & ~out])
        probabilities[np.ix_(out, classes)] = model.predict_proba(representations[out])
    return probabilities


def deal(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(n,) which fold each text is in: shuffled within each class, and dealt out like cards, class after class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=int)
    fold[by_class] = np.arange(len(labels)) % folds
    return fold


def confident_classes(probabilities: np.ndarray, given: np.ndarray, teaching: np.ndarray | None = None) -> np.ndarray:
    """The class that each text is counted in with confidence, (n, C) and (n,) → (n,); -1 where there is none.

    A text may belong to class j if j is at least as probable as it is on average among the `teaching` texts labelled j
    (the threshold of j; by default all texts teach); of several, the most probable counts. So a class that the model
    never gives a high probability still finds its texts. Counted by given label and this class, texts make the
    confident joint (equation 1).
    """
    classes = range(probabilities.shape[1])
    of_class = [(given == j) & (True if teaching is None else teaching) for j in classes]
    thresholds = [probabilities[of_class[j], j].mean() if of_class[j].any() else np.inf for j in classes]  # (C,)
    confident = np.where(probabilities >= np.array(thresholds) - SLACK, probabilities, -1.0)
    return np.where(confident.max(axis=1) < 0, -1, confident.argmax(axis=1))


def suspects(probabilities: np.ndarray, given: np.ndarray, teaching: np.ndarray | None = None) -> list[Suspect]:
    """The texts off the diagonal of the confident joint, by margin, the worst first.

    The authors' library, cleanlab, also lets go of those whose given class is the most probable of all; here they come
    last, with a margin below 0.

    Args:
        probabilities: (n, C), by a model that did not see the text's label.
        given: (n,) class numbers, as labelled.
        teaching: (n,) bool, as in `out_of_sample`.
    """
    counted = confident_classes(probabilities, given, teaching)
    found = [
        Suspect(int(i), int(given[i]), int(counted[i]), *map(float, probabilities[i, [given[i], counted[i]]]))
        for i in np.flatnonzero((counted >= 0) & (counted != given))
    ]
    return sorted(found, key=lambda suspect: -suspect.margin)
