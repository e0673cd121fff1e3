"""Two simple classifiers to stand beside a model's scores: the most frequent label, and TF-IDF.

TF-IDF is a logistic regression on n-grams of 1 to 3 characters. Both learn from the training split alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ..data.dataset import Example
from .judge import Judgement
from .statistics import mcnemar
from .tasks.metrics import scores

MAJORITY, TFIDF = "majority", "TF-IDF"
WORK = 2_000_000  # characters times labels that TF-IDF learns from at most: two or three seconds


@dataclass(frozen=True)
class Standing:
    """A baseline on the texts of one split."""

    accuracy: float
    f1: float  # macro
    p: float  # of McNemar's test against the model


@dataclass(frozen=True)
class Baselines:
    """What was learned from the training texts."""

    majority: str  # the most frequent label
    regression: Any | None  # from texts to labels
    left_out: str | None  # why there is no regression

    def answers(self, examples: Sequence[Example]) -> dict[str, list[str]]:
        """The labels that each baseline gives to n texts."""
        found = {MAJORITY: [self.majority] * len(examples)}
        if self.regression is not None:
            found[TFIDF] = self.regression.predict([e.content for e in examples]).tolist()
        return found

    def beside(self, judgement: Judgement, labels: Sequence[str]) -> dict[str, Standing]:
        """Each baseline on the texts of a judgement; macro-F1 is the mean over `labels`."""
        gold, right = judgement.gold, np.array(judgement.predicted) == np.array(judgement.gold)
        standings = {}
        for name, answers in self.answers(judgement.examples).items():
            own = scores(gold, answers, labels)
            p = mcnemar(right, np.array(answers) == np.array(gold))
            standings[name] = Standing(own["accuracy"], own["f1"], p)
        return standings


def learn(train: Sequence[Example]) -> Baselines | None:
    """The baselines of some training texts with classes; None where there are no texts."""
    if not train:
        return None
    texts, labels = [e.content for e in train], [e.label for e in train]
    (majority, _), *others = Counter(labels).most_common()
    # The regression, unless there is nothing to tell apart or too much to learn.
    if not others:
        return Baselines(majority, None, "all training texts have the same label")
    if sum(map(len, texts)) * (1 + len(others)) > WORK:
        return Baselines(majority, None, "it would take long on so many texts")
    regression = make_pipeline(tfidf(len(texts)), LogisticRegression(C=10, max_iter=1000))
    return Baselines(majority, regression.fit(texts, labels), None)


def tfidf(n: int) -> TfidfVectorizer:
    """n texts → their vectors, of n-grams of 1 to 3 characters; from 1,000 texts on without those of one alone."""
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=1 if n < 1000 else 2)


def comparison_line(standings: Mapping[str, Standing], left_out: str | None) -> str:
    """`for comparison: majority 0.608, TF-IDF 0.808 accuracy`"""
    shown = ", ".join(f"{name} {standing.accuracy:.3f}" for name, standing in standings.items())
    return f"for comparison: {shown} accuracy" + (f" (TF-IDF left out: {left_out})" if left_out else "")
