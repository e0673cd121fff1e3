"""A class for a text, or for a pair of texts."""

from collections.abc import Sequence

import numpy as np

from ...data.dataset import Example
from ...model.heads import ClassHead
from .metrics import measure, softmax
from .task import Task


class Classify(Task):
    name = "classify"
    head = ClassHead
    best = "f1"
    falling = ("loss", "ece")

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """1 for the class, 0 for the others."""
        return np.eye(len(self.labels), dtype=np.float32)[[self.labels.index(str(e.label)) for e in examples]]

    def answers(self, logits: np.ndarray) -> list[str]:
        return [self.labels[column] for column in logits.argmax(axis=1)]

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        return measure(logits, targets.argmax(axis=1), self.labels)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)
