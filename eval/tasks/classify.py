"""A class for a text, or for a pair of texts."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import SPLITS, Dataset, Example
from ...data.label_names import label_notes, refuse_numbers
from ...data.rows import shown
from ...model.heads import ClassHead
from .metrics import measure
from .task import Task


class Classify(Task):
    name = "classify"
    head = ClassHead
    best = "f1"
    falling = ("loss", "ece")
    classes = True

    @staticmethod
    def fits(label: Any) -> bool:
        return isinstance(label, str)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        if len(data.labels) < 2:
            raise ValueError(f"{data.name} has one label only, {data.labels[0]!r}: is it in another column?")
        if not data.named:
            refuse_numbers(data)
        return cls(data.labels)

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        return label_notes(data, splits, others=self.labels)

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """One-hot."""
        return np.eye(len(self.labels), dtype=np.float32)[[self.labels.index(str(e.label)) for e in examples]]

    def summary(self, targets: np.ndarray, encodings: Any) -> str:
        """How many texts each class has."""
        numbers = targets.sum(axis=0).astype(int)
        return f" ({', '.join(f'{number} {shown(label)}' for number, label in zip(numbers, self.labels, strict=True))})"

    def answers(self, logits: np.ndarray) -> list[str]:
        return [self.labels[column] for column in logits.argmax(axis=1)]

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        return measure(logits, targets.argmax(axis=1), self.labels)
