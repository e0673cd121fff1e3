"""One of k choices for a question, each read beside it: [CLS] question [SEP] choice [SEP].

The layout is that of Radford et al. 2018, section 3.3 ("Improving Language Understanding by Generative Pre-Training"),
and of the hub's `*ForMultipleChoice`; JGLUE's figures for JCommonsenseQA are made so (Kurihara et al., LREC 2022).

Letters: n examples, k choices of each, which are the columns of logits.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import Dataset, Example
from ...model.heads import ChoiceHead
from ...tokenize.encoding import EncodedBatch
from .metrics import cross_entropy, softmax
from .task import Task


class Choose(Task):
    """Labels and answers are numbers of choices, from 0."""

    name = "choose"
    head = ChoiceHead
    best = "accuracy"
    labels_are = "choice"

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.parts = len(self.labels)
        if self.parts < 2:
            raise ValueError(f"to choose needs at least two choices, not {self.parts}")

    @staticmethod
    def fits(label: Any) -> bool:
        return type(label) is int

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The task for as many choices as the first example has; ValueError where another has more or fewer."""
        task = cls([f"choice{number}" for number in range(len(data.examples[0].choices or ()))])
        for example in data.examples:
            if fault := task.fault(example):
                raise ValueError(f"{example.id} of {data.name} {fault}")
            if not 0 <= example.label < task.parts:
                raise ValueError(
                    f"{example.id} of {data.name} has the label {example.label}, and its choices are numbered from 0 "
                    f"to {task.parts - 1}"
                )
        return task

    def fault(self, example: Example) -> str:
        choices = example.choices or ()
        if not choices:
            return "has no choices: name their columns (--choice-columns), or give (question, [choices])"
        if len(choices) != self.parts:
            return f"has {len(choices)} choices, and the model takes one of {self.parts}: leave it out"
        if len(set(choices)) < len(choices):
            return f"has the same choice twice ({', '.join(choices)}): change one of them"
        return "has a second text, for which there is no place beside choices: leave it out" if example.pair else ""

    def encode(self, tokenizer: Any, examples: Sequence[Example], **how: Any) -> EncodedBatch:
        """Each of n · k choices as the second text of a pair."""
        questions = [example.text for example in examples for _ in range(self.parts)]
        return tokenizer.encode_batch(questions, [choice for e in examples for choice in e.choices or ()], **how)

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """One-hot."""
        return np.eye(self.parts, dtype=np.float32)[[e.label for e in examples]].reshape(-1, self.parts)

    def answers(self, logits: np.ndarray) -> list[int]:
        return logits.argmax(axis=1).tolist()

    def told(self, answer: Any, example: Example) -> str:
        return self.columns(example)[answer]

    def columns(self, example: Example) -> tuple[str, ...]:
        return example.choices or ()

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Cross-entropy, and the share of right choices."""
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        gold = targets.argmax(axis=1)
        return {"loss": cross_entropy(logits, gold), "accuracy": float((logits.argmax(axis=1) == gold).mean())}
