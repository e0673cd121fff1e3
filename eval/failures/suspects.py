"""Label suspects by confident learning (Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, section 3).

Letters: n texts, H hidden size, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..progress import progress_bar
from ..statistics import ALPHA

SLACK = 1e-6  # for a mean of equal numbers, which may be rounded up


@dataclass(frozen=True)
class Suspect:
    """A text whose label may be wrong; the model may be wrong as well, or the text belong to both classes."""

    index: int  # of the text, from 0
    given: int  # its label
    suggested: int
    self_confidence: float  # the probability of `given`
    suggested_confidence: float

    @property
    def margin(self) -> float:
        """Below 0 where the suggested class is less probable but passed a lower threshold."""
        return self.suggested_confidence - self.self_confidence


@dataclass(frozen=True)
class Competence:
    """How good the model that names suspects is, on n texts that it did not learn from."""

    n: int
    accuracy: float
    most: int  # the most frequent class of the texts that are learned from
    majority: float  # the accuracy of saying always that
    p: float  # that it is right where the majority is not no more often than the other way round: one-sided

    @property
    def weak(self) -> bool:
        """Whether it is not shown to be better than the majority, or is wrong on half of the texts or more.

        Then its suspicions mean nothing: of many classes the majority is easily beaten, and most labels are accused.
        """
        return self.p >= ALPHA or self.accuracy <= 0.5


def competence(probabilities: np.ndarray, given: np.ndarray, in_training: np.ndarray | None = None) -> Competence:
    """Compare a model with the most frequent class, by McNemar's exact test to one side.

    probabilities: (n, C), by a model that was not trained on the text. given: (n,) labels. in_training: (n,) bool.
    """
    learned = given if in_training is None else given[in_training]
    most = int(np.bincount(learned).argmax())
    right, by_majority = probabilities.argmax(axis=1) == given, given == most
    better, worse = int((right & ~by_majority).sum()), int((by_majority & ~right).sum())
    p = float(binomtest(better, better + worse, alternative="greater").pvalue) if better + worse else 1.0
    return Competence(len(given), float(right.mean()), most, float(by_majority.mean()), p)


def unanimous(votes: Mapping[str, int] | None, label: str) -> bool:
    """Whether two or more judges, and all of them, chose the label."""
    counts = {name: count for name, count in (votes or {}).items() if count}
    return set(counts) == {label} and counts[label] > 1


def out_of_sample(
    representations: np.ndarray,
    labels: np.ndarray,
    in_training: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: str | None = None,
) -> np.ndarray:
    """Probabilities (n, C) for each text, by a logistic regression that was fitted on the other folds.

    The encoder of the representations should not have been fine-tuned on the labels, since it may have memorized them.

    Args:
        representations: (n, H), standardized here.
        labels: (n,) class numbers; C - 1 is the greatest.
        in_training: (n,) bool, the texts that are learned from, so that dev and test stay independent. By default all.
        folds: stratified; a class with fewer texts than folds is missing in some of them.
        seed: of the folds.
        progress: the title of a progress bar; without it, or without a terminal, there is none.

    Raises:
        ValueError: fewer than two folds or classes to learn from, or a class with a single text.
    """
    in_training = np.ones(len(labels), dtype=bool) if in_training is None else in_training
    classes, sizes = np.unique(labels[in_training], return_counts=True)
    if folds < 2 or len(classes) < 2:
        raise ValueError(f"label suspects need at least two folds and two classes, not {folds} and {len(classes)}")
    if sizes.min() < 2:
        raise ValueError(
            f"class {classes[sizes.argmin()]} has a single text: nothing is left to learn it from when this one is "
            "left out; leave the text out, or join the class with another"
        )
    # Folds, of training texts and of the others separately.
    fold = np.zeros(len(labels), dtype=int)
    for part in (in_training, ~in_training):
        fold[part] = stratified_folds(labels[part], folds, seed)
    # Each fold by a model of the training texts in the others; a class that no training text has gets 0.
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for number in progress_bar(np.unique(fold), progress, "fold"):
        out = fold == number
        # C: the best of 0.003 to 1 at finding planted errors (5 % of the labels of JRTE, encoder mini).
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(representations[in_training & ~out], labels[in_training & ~out])
        probabilities[np.ix_(out, classes)] = model.predict_proba(representations[out])
    return probabilities


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(n,) the fold of each text: texts are shuffled within each class, and take the folds in turn."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=int)
    fold[by_class] = np.arange(len(labels)) % folds
    return fold


def confident_classes(
    probabilities: np.ndarray, given: np.ndarray, in_training: np.ndarray | None = None
) -> np.ndarray:
    """(n, C) and (n,) → (n,) the class that each text is counted in with confidence; -1 where there is none.

    The threshold of class j is its mean probability among the texts labelled j that are in training; the most probable
    of the classes that reach their thresholds counts. With the given labels, this is the confident joint (equation 1).
    """
    classes = range(probabilities.shape[1])
    of_class = [(given == j) & (True if in_training is None else in_training) for j in classes]
    thresholds = [probabilities[of_class[j], j].mean() if of_class[j].any() else np.inf for j in classes]  # (C,)
    confident = np.where(probabilities >= np.array(thresholds) - SLACK, probabilities, -1.0)
    return np.where(confident.max(axis=1) < 0, -1, confident.argmax(axis=1))


def suspects(probabilities: np.ndarray, given: np.ndarray, in_training: np.ndarray | None = None) -> list[Suspect]:
    """The texts off the diagonal of the confident joint, by margin, the worst first.

    cleanlab, the authors' library, leaves out those whose given class is the most probable; here they come last.

    probabilities: (n, C), by a model that was not trained on the text. given: (n,) labels. in_training: (n,) bool.
    """
    counted = confident_classes(probabilities, given, in_training)
    found = [
        Suspect(int(i), int(given[i]), int(counted[i]), *map(float, probabilities[i, [given[i], counted[i]]]))
        for i in np.flatnonzero((counted >= 0) & (counted != given))
    ]
    return sorted(found, key=lambda suspect: -suspect.margin)
