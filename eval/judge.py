"""Logits of one split against its labels, whatever labels the model has.

Letters: n examples, C columns of the model's logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.dataset import Example
from .neutral import ceiling, decide, shared_labels
from .tasks.metrics import cross_entropy, expected_calibration_error, scores
from .tasks.task import Task


@dataclass(frozen=True)
class Judgement:
    """One split, judged."""

    split: str
    examples: Sequence[Example]  # n
    model_labels: tuple[str, ...]  # C
    labels: tuple[str, ...]  # rows and columns of the confusion matrix
    probabilities: np.ndarray  # (n, C); without columns where the task is none of classes
    predicted: list[Any]  # n answers
    metrics: Mapping[str, float | None]
    remarks: list[str]

    @property
    def gold(self) -> list[Any]:
        return [example.label for example in self.examples]


def judge(
    task: Task,
    split: str,
    examples: Sequence[Example],
    logits: np.ndarray,
    data_labels: Sequence[str] = (),
    neutral: str | None = None,
    width: float = 0.0,
) -> Judgement:
    """Compare (n, C) logits with what is known of n examples; classes by their names.

    `data_labels` are those of the data, where they are others than the task's, which are the model's. Where it lacks a
    label of the data, the loss is None, since that label has no probability; so is the calibration error where a band
    of doubt decides (`neutral`, `width`), since what it calls neutral has none either.
    Means are over the data's labels.
    """
    model_labels, data_labels = task.labels, tuple(data_labels) or task.labels
    probabilities = task.probabilities(logits)
    if not task.classes:
        found = {**task.measure(logits, task.targets(examples)), "examples": len(examples)}
        return Judgement(split, examples, model_labels, (), probabilities, task.answers(logits), found, [])
    labels = shared_labels(model_labels, data_labels)
    predicted = decide(probabilities, model_labels, neutral, width)
    gold = [example.label for example in examples]
    right = np.array(predicted) == np.array(gold)
    loss, remarks = None, []
    if set(data_labels) <= set(model_labels):
        loss = cross_entropy(logits, np.array([list(model_labels).index(label) for label in gold]))
    else:
        remarks.append(
            f"The model knows {', '.join(model_labels)}; the data has {', '.join(data_labels)}. "
            f"Without a label of its own for the others, it reaches {ceiling(gold, model_labels):.1%} accuracy at best."
        )
    if neutral:
        remarks.append(f"Predictions whose two probabilities differ by less than {width:g} are called {neutral}.")
    metrics = {
        "loss": loss,
        **scores(gold, predicted, data_labels),
        "ece": None if neutral else expected_calibration_error(probabilities.max(axis=1), right),
        "examples": len(gold),
    }
    return Judgement(split, examples, tuple(model_labels), labels, probabilities, predicted, metrics, remarks)
