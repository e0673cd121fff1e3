"""Simple answers to stand beside a model's scores where its task is none of classes (those are in baselines.py).

Letters: n examples, C columns of logits.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from ..data.dataset import Example
from .baselines import TFIDF, WORK, tfidf
from .tasks.multilabel import Multilabel
from .tasks.score import pearson
from .tasks.task import Task

Scores = Mapping[str, float]
OVERLAP = "overlap of bigrams"
LONG = f"{TFIDF} left out: it would take long on so many texts"


def overlap(one: str, other: str) -> float:
    """How many bigrams of characters two texts share, from 0 to 1 (Dice 1945, Ecology 26); of a character itself."""
    first, second = (Counter(pairwise(text) if text[1:] else [text]) for text in (one, other))
    return 2 * (first & second).total() / (first.total() + second.total())


def of_scores(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, Scores]:
    """The mean of the training scores; and a line through the overlaps of pairs, or of texts TF-IDF with a ridge."""
    learned = task.targets(train)[:, 0]
    answers = {"mean": np.full(len(test), learned.mean())}
    if any(example.pair is not None for example in train):
        shares, asked = (np.array([[overlap(e.text, e.pair or "")] for e in some]) for some in (train, test))
        answers[OVERLAP] = LinearRegression().fit(shares, learned).predict(asked)
    elif sum(len(e.content) for e in train) <= WORK:
        vectors = tfidf(len(train))
        ridge = Ridge().fit(vectors.fit_transform([e.content for e in train]), learned)
        answers[f"{TFIDF} with ridge"] = ridge.predict(vectors.transform([e.content for e in test]))
    else:
        return {"mean": task.measure(answers["mean"][:, None], task.targets(test)), LONG: {}}
    return {name: task.measure(found[:, None], task.targets(test)) for name, found in answers.items()}


def of_similarities(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, Scores]:
    """How the overlaps of pairs correlate with their scores; nothing is learned."""
    found, gold = np.array([(overlap(e.text, e.pair or ""), float(e.label)) for e in test]).T
    return {OVERLAP: {"pearson": pearson(found, gold), "spearman": pearson(rankdata(found), rankdata(gold))}}


def of_choices(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, Scores]:
    """Chance; and the choice that overlaps most with the question, of several equal ones each as likely."""
    found = np.array([[overlap(e.text, choice) for choice in e.choices or ()] for e in test])  # (n, C)
    most = found == found.max(axis=1, keepdims=True)
    right = most[range(len(test)), [e.label for e in test]] / most.sum(axis=1)
    return {"chance": {"accuracy": 1 / task.parts}, OVERLAP: {"accuracy": float(right.mean())}}


def of_labels(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, Scores]:
    """TF-IDF with a logistic regression for each label, which is told from a probability of 1/2 on."""
    if sum(len(e.content) for e in train) * len(task.labels) > WORK:
        return {LONG: {}}
    vectors, learned = tfidf(len(train)), task.targets(train)
    texts, asked = vectors.fit_transform([e.content for e in train]), vectors.transform([e.content for e in test])
    logits = np.empty((len(test), len(task.labels)))
    for column, own in enumerate(learned.T):
        if np.ptp(own) == 0:  # all have the label, or none
            logits[:, column] = 20 * own[0] - 10
        else:
            logits[:, column] = LogisticRegression(C=10, max_iter=1000).fit(texts, own).decision_function(asked)
    return {f"{TFIDF}, a regression a label": Multilabel(task.labels).measure(logits, task.targets(test))}


# By the page of a task (`Task.page`).
YARDSTICKS: dict[str, Callable[[Task, Sequence[Example], Sequence[Example]], dict[str, Scores]]] = {
    "score": of_scores,
    "similarity": of_similarities,
    "choose": of_choices,
    "multilabel": of_labels,
}


def yardstick_line(found: Mapping[str, Scores]) -> str:
    """`for comparison: chance: accuracy 0.200; overlap of bigrams: accuracy 0.231`; none has learned the loss."""
    shown = {name: ", ".join(f"{k} {v:.3f}" for k, v in own.items() if k != "loss") for name, own in found.items()}
    return "for comparison: " + "; ".join(f"{name}: {scores}" if scores else name for name, scores in shown.items())
