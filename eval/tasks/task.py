"""What is asked of a text, and what an answer is worth.

A task says how examples become sequences of tokens and their labels targets of a head, what the head's logits answer,
and how good answers are. How logits come about, and what they cost, is the head's affair (model/heads.py).

Letters: n examples, C columns of logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import SPLITS, Dataset, Example
from ...model.heads import Head
from ...tokenize.encoding import EncodedBatch
from .metrics import softmax


class Task(ABC):
    """One kind of question.

    name: what the plan calls it.
    head: its kind.
    best: the score that epochs are chosen by.
    falling: the scores of which less is better.
    classes: whether the columns of logits are classes that exclude each other.
    parts: sequences that an example is made of: 2 for a pair that is read apart, k for a choice of k.
    labels: a name for each of the C columns of logits.
    """

    name: str
    head: type[Head]
    best: str
    falling: tuple[str, ...] = ("loss",)
    classes = False
    parts = 1

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The task for some data; ValueError where it cannot be asked of them."""
        return cls(data.labels)

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        """What is strange about the labels of some splits, a sentence each; told before training or judging."""
        return []

    def encode(self, tokenizer: Any, examples: Sequence[Example], **how: Any) -> EncodedBatch:
        """n examples → n · parts sequences, those of an example one after the other; `how` they are cut.

        Here a pair is read in one sequence, as the tokenizer's template says.
        """
        pairs = [example.pair for example in examples]
        paired = any(pair is not None for pair in pairs)
        return tokenizer.encode_batch([e.text for e in examples], [p or "" for p in pairs] if paired else None, **how)

    @abstractmethod
    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """(n, C) float32, as the head's loss takes them."""

    @abstractmethod
    def answers(self, logits: np.ndarray) -> list[Any]:
        """(n, C) → n answers, of the kind that `Example.label` is."""

    @abstractmethod
    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Logits and targets (n, C) → all scores by name, the loss first. ValueError without an example."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(n, C) → (n, C) by softmax, where the columns are classes; else (n, 0)."""
        return softmax(logits) if self.classes else np.empty((len(logits), 0))
