"""Fine-tuning behind scikit-learn's interface: `TextClassifier(epochs=2).fit(texts, labels)`.

`clone`, `cross_val_score`, `GridSearchCV`, `Pipeline` and pickle work with it. X is a list (or a one-dimensional array
or column) of n texts, or a list of n pairs (text, second text).
"""

import tempfile
from collections.abc import Iterable
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..data.dataset import DataError
from ..data.lists import dataset_of, in_a_list
from ..eval.predict import Text
from .finetune import run_plan
from .plan import Plan


class TextClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of texts; after `fit` it has `classes_` (C,) and `classifier_`.

    Args:
        model: small, mini, scratch, a folder or a hub id.
        epochs, batch_size, lr, regularizer, max_length, precision, device, seed: as in Plan; None leaves them to the
            recipe.
        options: more fields of Plan.
        dev_share: of the texts that decide which epoch is kept; they are not learned from.
        verbose: whether the run prints what the command prints.
    """

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

    def fit(self, X: Iterable[Text], y: Iterable[Any]) -> "TextClassifier":  # noqa: N803 - scikit-learn's names
        """Learn from n texts and their n labels, which may be of any type that can be sorted.

        Raises:
            ValueError: texts or labels that cannot be learned from.
        """
        if y is None:
            raise ValueError("TextClassifier requires y to be passed, but the target y is None")
        texts, labels = texts_of(X), column_or_1d(np.asarray(in_a_list("y", y)), warn=True)
        check_classification_targets(labels)
        if len(labels) != len(texts):
            raise ValueError(f"X has {len(texts)} texts, but y has the shape {labels.shape}: give one label for each")
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there is only one class, {self.classes_[0]!r}: a classifier needs two")
        # Classes are called by their numbers, so that labels of any type come back as they were.
        splits = self.split(numbers)
        names = [str(number) for number in range(len(self.classes_))]
        data = dataset_of(texts, [names[number] for number in numbers], splits=splits, classes=names)
        own = ("model", "epochs", "batch_size", "lr", "regularizer", "max_length", "precision", "device", "seed")
        given = {name: getattr(self, name) for name in own} | {"report": False, "save_model": "none"}
        with (
            tempfile.TemporaryDirectory(prefix="tezukuri-") as folder,
            nullcontext() if self.verbose else redirect_stdout(StringIO()),
        ):
            plan = Plan.of(**given | {"checkpoint": False} | (self.options or {}) | {"output_dir": folder})
            # The folder goes, so it is judged only for what that prints: it takes longer than training on a few texts.
            run = run_plan(plan.whole_paths().with_own_folder(), data, judged=self.verbose)
        self.classifier_ = run.classifier
        return self

    def split(self, numbers: np.ndarray) -> list[str]:
        """(n,) class numbers → n names of splits: a share of each class, drawn by the seed, is dev."""
        if not 0 < self.dev_share < 1:
            raise ValueError(f"dev_share is {self.dev_share}; it lies between 0 and 1")
        splits = np.full(len(numbers), "train", dtype=object)
        random = np.random.default_rng(self.seed or 0)
        for number in range(len(self.classes_)):
            own = random.permutation(np.flatnonzero(numbers == number))
            splits[own[: max(1, round(self.dev_share * len(own))) if len(own) > 1 else 0]] = "dev"
        if not (splits == "dev").any():
            raise ValueError("every class has a single text: there are none to choose an epoch by")
        return splits.tolist()

    def predict(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n,) of `classes_`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Iterable[Text]) -> np.ndarray:  # noqa: N803
        """(n, C), a column for each of `classes_`."""
        check_is_fitted(self)
        found = self.classifier_(texts_of(X))
        return np.array([list(one.probabilities.values()) for one in found]).reshape(-1, len(self.classes_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        return tags


def texts_of(X: Iterable[Text]) -> list[Text]:  # noqa: N803
    """A list of texts, or of pairs (text, second text); ValueError where it is something else."""
    texts = list(in_a_list("X", X))
    for i, text in enumerate(texts):
        if not (isinstance(text, str) or (isinstance(text, tuple) and list(map(type, text)) == [str, str])):
            raise DataError(f"X[{i}] is {text!r}, a {type(text).__name__}: X must be a list of texts")
    if not texts:
        raise DataError("X has no texts")
    return texts
