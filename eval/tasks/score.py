"""A number for a text, or for a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import SPLITS, Dataset, Example
from ...model.heads import ScoreHead
from .task import Task


class Score(Task):
    """Labels and answers are numbers. `range` is that of the training labels, which no answer leaves."""

    name = "score"
    head = ScoreHead
    best = "spearman"
    falling = ("loss", "mae")
    labels_are = "number"
    range = (-np.inf, np.inf)

    def __init__(self, labels: Sequence[str] = ("score",)) -> None:
        super().__init__(labels)
        if len(self.labels) != 1:
            raise ValueError(f"a score is one number, and this model gives {len(self.labels)} ({', '.join(labels)})")

    @staticmethod
    def fits(label: Any) -> bool:
        return np.isscalar(label) and not isinstance(label, str)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        task, learned = cls(), [float(e.label) for e in data.split("train")]
        task.range = (min(learned), max(learned))
        if task.range[0] == task.range[1]:
            raise ValueError(f"all training texts of {data.name} have the score {learned[0]:g}: nothing can be learned")
        return task

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        low, high = kept.get("range", self.range)
        self.range = (float(low), float(high))

    def kept(self) -> dict[str, Any]:
        return super().kept() | ({"range": list(self.range)} if np.isfinite(self.range).all() else {})

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        found = {split: {float(e.label) for e in data.examples if e.split == split} for split in splits}
        return [
            f"all scores of {split} are {min(own):g}: Pearson and Spearman are not defined there, and told as 0"
            for split, own in found.items() if len(own) == 1
        ]  # fmt: skip

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        return np.array([[float(e.label)] for e in examples], dtype=np.float32).reshape(-1, 1)

    def answers(self, logits: np.ndarray) -> list[float]:
        """Six digits of them, as many as fp32 has."""
        return np.clip([float(f"{number:.6g}") for number in logits[:, 0].tolist()], *self.range).tolist()

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The mean squared error, the correlations of Pearson and Spearman, and the mean distance of the answers (MAE).

        A correlation is 0 where it is not defined, since all scores, or all logits, are equal.
        """
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        from scipy.stats import rankdata  # takes a second, which predictions would wait for too

        found, gold = logits[:, 0].astype(np.float64), targets[:, 0].astype(np.float64)
        return {
            "loss": float(((found - gold) ** 2).mean()),
            "pearson": pearson(found, gold),
            "spearman": pearson(rankdata(found), rankdata(gold)),
            "mae": float(np.abs(found.clip(*self.range) - gold).mean()),
        }


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of (n,) numbers with (n,) others; 0 where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
