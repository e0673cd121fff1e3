"""A task: examples → sequences of tokens and targets, logits → answers and scores. The loss is the head's.

Letters: n examples, C columns of logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import SPLITS, Dataset, Example
from ...model.heads import Head
from ...tokenize.encoding import EncodedBatch
from .metrics import softmax


class Task(ABC):
    """The interface of all tasks. labels: a name for each of the C columns of logits."""

    name: str  # in the plan
    head: type[Head]
    best: str  # the score that epochs are chosen by
    falling: tuple[str, ...] = ("loss",)  # scores of which less is better
    classes = False  # whether the columns of logits are classes that exclude each other
    parts = 1  # sequences of an example: 2 for a pair that is encoded apart, k for a choice of k
    separate = False  # whether each text of an example is a sequence by itself
    adjusts = False  # whether `adjust` is called after training
    labels_are = "name"  # of data/label_kinds.py: how a table says them
    pairs: bool | None = None  # whether the texts come in pairs; None where that is not known
    prefix = ""  # what stands before each text, for a task that says so
    twice = False  # whether a text and its pair are the same one, which dropout alone tells apart
    least_batch = 1  # examples in a batch, of which a loss learns anything
    select: str | None = None  # the epoch that the default recipe keeps, where no score can choose it
    batch_size = 64  # examples in a batch, for losses of a batch together
    rate = 1.0  # what the default learning rate is multiplied with
    r_drop = True  # whether it is part of the default recipe
    takes: Sequence[str] = ()  # other tasks whose data will do
    options: Mapping[str, type] = {}  # what may stand behind its name, for `of`: NAME:key=value
    windows = False  # whether texts that are too long are read in windows, and not cut

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    @property
    def page(self) -> str:
        """The name of its page of mistakes (eval/failures/table.py), which may depend on what was `prepared`."""
        return self.name

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The task for some data; ValueError where they do not have what it needs. `options` are arguments too."""
        return cls(data.labels)

    @classmethod
    def kind_by_columns(cls, pair: bool, label: bool) -> str:
        """`labels_are`, unless it depends on the columns of a file: whether those of a pair and a label are named."""
        return cls.labels_are

    def unmeant(self, data: Dataset) -> str:
        """Why data that could be learned from are hardly meant for it; empty where they may be."""
        return ""

    def prepared(self, data: Dataset) -> Dataset:
        """The data as the task is learned from them."""
        return data

    @staticmethod
    def fits(label: Any) -> bool:
        """Whether a label is of the kind that the task has."""
        return True

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take back what a saved model has kept."""
        self.pairs = kept.get("pairs", self.pairs)

    def kept(self) -> dict[str, Any]:
        """What a saved model keeps of the task beside its labels, as JSON."""
        return {"name": self.name} | ({} if self.pairs is None else {"pairs": self.pairs})

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        """What is strange about the labels of some splits, a sentence each; told before training or judging."""
        return []

    def fault(self, example: Example) -> str:
        """What an example lacks for this task, or has too much: the end of a sentence that begins with it, or ""."""
        if example.choices:
            return f"has choices, and the model answers the task {self.name}: leave them out"
        if self.pairs in (None, example.pair is not None):
            return ""
        if self.pairs:
            return (
                "has no second text, and the model was trained on pairs: name their column (--pair-column), or give "
                "(text, second text)"
            )
        return "has a second text, but the model was trained on single ones: leave it out"

    def encode(self, tokenizer: Any, examples: Sequence[Example], **how: Any) -> EncodedBatch:
        """n examples → n · parts sequences, those of an example together. `how`: the tokenizer's options.

        By default a pair is one sequence, by the tokenizer's template.
        """
        pairs = [example.pair for example in examples]
        paired = any(pair is not None for pair in pairs)
        return tokenizer.encode_batch([e.text for e in examples], [p or "" for p in pairs] if paired else None, **how)

    @abstractmethod
    def targets(self, examples: Sequence[Example]) -> Any:
        """(n, C) float32, as `measure` takes them, and the head's loss."""

    def laid(self, targets: Any, encodings: Any) -> np.ndarray:
        """What the head's loss takes, a row for each sequence, where that depends on the tokens."""
        return targets

    def read(self, logits: np.ndarray, encodings: Any) -> Any:
        """Logits as `answers` and `measure` take them: with their tokens, where answers depend on those."""
        return logits

    def summary(self, targets: Any, encodings: Any) -> str:
        """What is to be known of the targets of a split before it is learned, for the line about it; or ""."""
        return ""

    @abstractmethod
    def answers(self, logits: Any) -> list[Any]:
        """(n, C) → n answers, of the kind that `Example.label` is."""

    def told(self, answer: Any, example: Example) -> Any:
        """An answer, or a label, to be read by people."""
        return answer

    def columns(self, example: Example) -> Sequence[str]:
        """What the C columns stand for in an example, to be read by people."""
        return self.labels

    def adjust(self, logits: np.ndarray, targets: np.ndarray) -> None:
        """After training: what answers need beside the logits, from those of the dev split, and targets (n, C)."""
        raise NotImplementedError

    @abstractmethod
    def measure(self, logits: Any, targets: Any) -> dict[str, float]:
        """Logits and targets (n, C) → all scores by name, the loss first. ValueError without an example."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(n, C) → (n, C) by softmax, where the columns are classes; else (n, 0)."""
        return softmax(logits) if self.classes else np.empty((len(logits), 0))
