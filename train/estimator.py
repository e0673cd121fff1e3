"""Fine-tuning behind scikit-learn's interface: `TextClassifier(epochs=2).fit(texts, labels)`, and its siblings for
the other tasks.

`clone`, `cross_val_score`, `GridSearchCV`, `Pipeline` and pickle work with them. X is a list (or a one-dimensional
array or column) of n texts, or a list of n pairs (text, second text), or of n questions with their choices.
"""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..data.dataset import DataError, Example, Span
from ..data.lists import dataset_of, in_a_list
from ..eval.classifier import Prediction
from ..eval.predict import Text
from ..eval.tasks.span import best_of, character_f1, text_of
from ..eval.tasks.table import kind_of_labels
from ..eval.tasks.tag import Counts, counts_by_kind
from .finetune import run_plan
from .plan import Plan


class TextEstimator(BaseEstimator):
    """What the estimators share; after `fit` they have `classifier_`, a Classifier.

    Args:
        model: small, mini, scratch, a folder or a hub id.
        epochs, batch_size, lr, regularizer, max_length, precision, device, seed: as in Plan; None leaves them to the
            recipe.
        options: more fields of Plan.
        dev_share: of the texts that decide which epoch is kept; they are not learned from.
        verbose: whether the run prints what the command prints.
    """

    task = "classify"

    def __init__(
        self,
        model: str = "small",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        regularizer: list[str] | None = None,
        max_length: int | None = None,
        precision: str | None = None,
        device: str = "auto",
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        dev_share: float = 0.1,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.regularizer = regularizer
        self.max_length = max_length
        self.precision = precision
        self.device = device
        self.seed = seed
        self.options = options
        self.dev_share = dev_share
        self.verbose = verbose

    def learn(self, texts: Sequence[Text], labels: Sequence[Any], splits: list[str], classes: Any = None) -> None:
        """A run on n texts, of which only the trained model is kept."""
        data = dataset_of(texts, labels, splits=splits, classes=classes, labels_are=kind_of_labels(self.task))
        own = ("model", "epochs", "batch_size", "lr", "regularizer", "max_length", "precision", "device", "seed")
        given = {name: getattr(self, name) for name in own} | {"report": False, "save_model": "none"}
        given |= {"checkpoint": False} | (self.options or {})
        with (
            tempfile.TemporaryDirectory(prefix="tezukuri-") as folder,
            nullcontext() if self.verbose else redirect_stdout(StringIO()),
        ):
            plan = Plan.of(**given | {"task": self.task, "output_dir": folder})
            # The folder goes, so it is judged only for what that prints: it takes longer than training on a few texts.
            run = run_plan(plan.whole_paths().with_own_folder(), data, judged=self.verbose)
        self.classifier_ = run.classifier

    def split(self, groups: np.ndarray) -> list[str]:
        """(n,) numbers of groups → n names of splits: a share of each group, drawn by the seed, is dev."""
        if not 0 < self.dev_share < 1:
            raise ValueError(f"dev_share is {self.dev_share}; it lies between 0 and 1")
        splits = np.full(len(groups), "train", dtype=object)
        random = np.random.default_rng(self.seed or 0)
        for group in np.unique(groups):
            own = random.permutation(np.flatnonzero(groups == group))
            splits[own[: min(max(1, round(self.dev_share * len(own))), len(own) - 1)]] = "dev"
        if not (splits == "dev").any():
            which = "every class" if np.ptp(groups) else "X"
            raise ValueError(f"{which} has a single text: there are none to choose an epoch by")
        return splits.tolist()

    def predictions(self, X: Iterable[Text]) -> list[Prediction]:  # noqa: N803 - scikit-learn's names
        check_is_fitted(self)
        return self.classifier_(texts_of(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        return tags


class TextClassifier(ClassifierMixin, TextEstimator):
    """A classifier of texts; after `fit` it has `classes_` (C,)."""

    def fit(self, X: Iterable[Text], y: Iterable[Any]) -> "TextClassifier":  # noqa: N803
        """Learn from n texts and their n labels, which may be of any type that can be sorted.

        Raises:
            ValueError: texts or labels that cannot be learned from.
        """
        texts, labels = texts_of(X), column_or_1d(target_of(self, y), warn=True)
        check_classification_targets(labels)
        require_one_each(texts, labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there is only one class, {self.classes_[0]!r}: a classifier needs two")
        # Classes are called by their numbers, so that labels of any type come back as they were.
        names = [str(number) for number in range(len(self.classes_))]
        self.learn(texts, [names[number] for number in numbers], self.split(numbers), names)
        return self

    def predict(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n,) of `classes_`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n, C), a column for each of `classes_`."""
        found = self.predictions(X)
        return np.array([list(one.probabilities.values()) for one in found]).reshape(-1, len(self.classes_))


class TextRegressor(RegressorMixin, TextEstimator):
    """A number for each text: the task `score`."""

    task = "score"

    def fit(self, X: Iterable[Text], y: Iterable[Any]) -> "TextRegressor":  # noqa: N803
        """Learn from n texts and their n numbers; ValueError where they cannot be learned from."""
        texts, scores = texts_of(X), column_or_1d(target_of(self, y), dtype=np.float64, warn=True)
        require_one_each(texts, scores)
        self.learn(texts, scores.tolist(), self.split(np.zeros(len(scores))))
        return self

    def predict(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n,)"""
        return np.array([one.label for one in self.predictions(X)])


class TextMultilabelClassifier(ClassifierMixin, TextEstimator):
    """Any number of labels for each text, each with a threshold of its own: the task `multilabel`.

    y is a matrix (n, C) of 1 and 0, which scikit-learn's `MultiLabelBinarizer` makes of sets of names; after `fit` it
    has `classes_`, the numbers of its columns.
    """

    task = "multilabel"

    def fit(self, X: Iterable[Text], y: Iterable[Any]) -> "TextMultilabelClassifier":  # noqa: N803
        """Learn from n texts and an (n, C) matrix; ValueError where they cannot be learned from."""
        texts, matrix = texts_of(X), target_of(self, y)
        if matrix.ndim != 2 or not np.isin(matrix, (0, 1)).all():
            raise ValueError(
                "y is no matrix of 0 and 1, a row a text and a column a label: MultiLabelBinarizer makes one of sets"
            )
        require_one_each(texts, matrix)
        self.classes_ = np.arange(matrix.shape[1])
        labels = [[str(column) for column in np.flatnonzero(row)] for row in matrix]
        self.learn(texts, labels, self.split(np.zeros(len(matrix))), list(map(str, self.classes_)))
        return self

    def predict(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n, C) of 1 and 0."""
        found = [[str(column) in one.label for column in self.classes_] for one in self.predictions(X)]
        return np.array(found, dtype=np.int64).reshape(-1, len(self.classes_))

    def predict_proba(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n, C), of which no row need add up to 1."""
        found = [list(one.probabilities.values()) for one in self.predictions(X)]
        return np.array(found).reshape(-1, len(self.classes_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.single_output, tags.target_tags.multi_output = False, True
        return tags


class TextChooser(ClassifierMixin, TextEstimator):
    """One of k choices: the task `choose`. X is a list of (question, [choice, …]), y the numbers of the right ones,
    from 0; after `fit` it has `classes_`, 0 to k - 1."""

    task = "choose"

    def fit(self, X: Iterable[Text], y: Iterable[Any]) -> "TextChooser":  # noqa: N803
        """Learn from n questions and n numbers; ValueError where they cannot be learned from."""
        texts, numbers = texts_of(X), column_or_1d(target_of(self, y), warn=True)
        require_one_each(texts, numbers)
        self.learn(texts, numbers.tolist(), self.split(np.zeros(len(numbers))))
        self.classes_ = np.arange(self.classifier_.task.parts)
        return self

    def predict(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n,) numbers of choices."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n, k), in the order of the choices."""
        found = self.predictions(X)
        return np.array([list(one.probabilities.values()) for one in found]).reshape(-1, len(self.classes_))


class TextTagger(TextEstimator):
    """The entities of texts: the task `tag`. y has for each text a list of (start, end, kind), or of dictionaries with
    these keys; so do predictions, with `probability`."""

    task = "tag"

    def fit(self, X: Iterable[Text], y: Iterable[Any]) -> "TextTagger":  # noqa: N803
        """Learn from n texts and n lists; ValueError where they cannot be learned from."""
        texts, labels = texts_of(X), listed_targets(self, y)
        require_one_each(texts, labels)
        self.learn(texts, labels, self.split(np.zeros(len(labels))))
        return self

    def predict(self, X: Iterable[Text]) -> list[tuple[Span, ...]]:  # noqa: N803
        return [one.label for one in self.predictions(X)]

    def score(self, X: Iterable[Text], y: Iterable[Any]) -> float:  # noqa: N803
        """The task's main score of the predictions for X: micro-F1 of entities, F1 of characters."""
        texts, labels = texts_of(X), listed_targets(self, y)
        require_one_each(texts, labels)
        data = dataset_of(texts, labels, splits=["test"] * len(texts), labels_are=kind_of_labels(self.task))
        return self.worth(data.examples, self.predict(texts))

    def worth(self, examples: Sequence[Example], told: Sequence[Sequence[Span]]) -> float:
        counts = counts_by_kind([example.label for example in examples], told).values()
        return Counts(*np.sum([*counts, (0, 0, 0)], axis=0).tolist()).f1


class TextAnswerer(TextTagger):
    """Answers to questions: the task `span`. X is a list of (question, context), y has for each a list of right answers
    in the context, (start, end) or {"start": 7, "text": "1603"}; predictions are lists of one or none."""

    task = "span"

    def worth(self, examples: Sequence[Example], told: Sequence[Sequence[Span]]) -> float:
        both = zip(examples, told, strict=True)
        answers = ((e, text_of(e, spans[0]) if spans else "") for e, spans in both)
        return float(
            np.mean([best_of(character_f1, told, [text_of(e, one) for one in e.label]) for e, told in answers])
        )


def target_of(estimator: TextEstimator, y: Iterable[Any] | None) -> np.ndarray:
    return np.asarray(listed_targets(estimator, y))


def listed_targets(estimator: TextEstimator, y: Iterable[Any] | None) -> Sequence[Any]:
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    return in_a_list("y", y)


def require_one_each(texts: Sequence[Text], y: Sequence[Any] | np.ndarray) -> None:
    if len(y) != len(texts):
        shape = getattr(y, "shape", (len(y),))
        raise ValueError(f"X has {len(texts)} texts, but y has the shape {shape}: give one label for each")


def texts_of(X: Iterable[Text]) -> list[Text]:  # noqa: N803
    """A list of texts, of pairs (text, second text) or of (question, choices); ValueError where it is none."""
    texts = list(in_a_list("X", X))
    for i, text in enumerate(texts):
        parts = list(map(type, text)) if isinstance(text, tuple) else []
        if not (isinstance(text, str) or parts in ([str, str], [str, list], [str, tuple])):
            raise DataError(f"X[{i}] is {text!r}, a {type(text).__name__}: X must be a list of texts")
    if not texts:
        raise DataError("X has no texts")
    return texts
