"""Several labels of a text, or of a pair: any number of them, also none."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import Dataset, Example
from ...model.heads import LabelsHead
from .task import Task

HALF = 0.5


class Multilabel(Task):
    """A label is told where its probability reaches its own threshold, which is chosen on the dev split."""

    name = "multilabel"
    head = LabelsHead
    best = "macro_f1"
    labels_are = "names"
    adjusts = True

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.thresholds = np.full(len(self.labels), HALF)

    @staticmethod
    def fits(label: Any) -> bool:
        return isinstance(label, tuple) and all(isinstance(name, str) for name in label)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        if not data.labels:
            raise ValueError(f"no text of {data.name} has a label: there is nothing to learn")
        return cls(data.labels)

    def notes(self, data: Dataset, splits: Sequence[str] = ("train", "dev", "test")) -> list[str]:
        told = []
        if unknown := [label for label in data.labels if label not in self.labels]:
            told.append(f"labels that the model does not have: {', '.join(map(repr, unknown))}: no score counts them")
        for split in splits:
            own = [e.label for e in data.examples if e.split == split]
            if absent := [label for label in self.labels if own and not any(label in names for names in own)]:
                told.append(
                    f"labels without a text in {split}: {', '.join(map(repr, absent))}: the F1 of each is 0 there"
                )
        return told

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        thresholds = kept.get("thresholds", {})
        self.thresholds = np.array([float(thresholds.get(label, HALF)) for label in self.labels])

    def kept(self) -> dict[str, Any]:
        return super().kept() | {"thresholds": dict(zip(self.labels, self.thresholds.tolist(), strict=True))}

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """1 for each label that a text has, else 0."""
        rows = [[label in e.label for label in self.labels] for e in examples]
        return np.array(rows, dtype=np.float32).reshape(-1, len(self.labels))

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(n, C) by a sigmoid each: they do not add up to 1."""
        return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))

    def found(self, logits: np.ndarray) -> np.ndarray:
        """(n, C) bool"""
        return self.probabilities(logits) >= self.thresholds

    def answers(self, logits: np.ndarray) -> list[tuple[str, ...]]:
        return [tuple(np.array(self.labels)[row].tolist()) for row in self.found(logits)]

    def adjust(self, logits: np.ndarray, targets: np.ndarray) -> None:
        """For each label the threshold of the best F1 on these texts; of equally good ones the nearest to 0.5."""
        probabilities = self.probabilities(logits)
        for column in range(len(self.labels)):
            own = np.sort(probabilities[:, column])
            right = np.sort(probabilities[targets[:, column] > HALF, column])
            tried = np.unique([*(own + np.append(0, own[:-1])) / 2, HALF])  # the lowest tells the label of all
            told, hits = (len(some) - some.searchsorted(tried) for some in (own, right))  # at or above each
            f1 = 2 * hits / np.maximum(told + len(right), 1)
            self.thresholds[column] = min(tried[f1 == f1.max()], key=lambda threshold: abs(threshold - HALF))

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Binary cross-entropy, the F1 over all labels together (micro), and the mean of those of the labels (macro).

        A label that is neither there nor told has the F1 0.
        """
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        wide, gold, found = logits.astype(np.float64), targets > HALF, self.found(logits)
        return {
            "loss": float((np.logaddexp(0, wide) - targets * wide).mean()),
            "micro_f1": f1_of(found.ravel(), gold.ravel()),
            "macro_f1": float(np.mean([f1_of(found[:, c], gold[:, c]) for c in range(gold.shape[1])])),
        }


def f1_of(found: np.ndarray, gold: np.ndarray) -> float:
    """(n,) and (n,) bool → F1; 0 where nothing is right."""
    right = int((found & gold).sum())
    return 2 * right / int(found.sum() + gold.sum()) if right else 0.0
