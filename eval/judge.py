"""The judgement of one split: predictions and metrics, from logits and labels.

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
    """The evaluation of one split. Without classes, `labels` is empty and `probabilities` (n, 0)."""

    split: str
    examples: Sequence[Example]  # n
    model_labels: tuple[str, ...]  # C
    labels: tuple[str, ...]  # rows and columns of the confusion matrix
    probabilities: np.ndarray  # (n, C)
    predicted: list[Any]  # n answers, to be read by people
    metrics: Mapping[str, float | None]
    remarks: list[str]
    task: Task

    @property
    def gold(self) -> list[Any]:
        """n labels, likewise."""
        return [self.task.told(example.label, example) for example in self.examples]


def judge(
    task: Task,
    split: str,
    examples: Sequence[Example],
    logits: np.ndarray,
    data_labels: Sequence[str] = (),
    neutral: str | None = None,
    width: float = 0.0,
) -> Judgement:
    """Compare (n, C) logits with the labels of n examples; classes by their names, macro averages over `data_labels`.

    The loss is None where the model lacks a label of the data, the calibration error where a neutral band decides.

    Args:
        data_labels: of the data; by default those of the task, which are the model's.
        neutral: the label inside the neutral band, if there is one; `width` is the band's (see neutral.py).

    Raises:
        ValueError: the model and the data have no label in common.
    """
    model_labels, data_labels = task.labels, tuple(data_labels) or task.labels
    probabilities = task.probabilities(logits)
    if not task.classes:
        found = {**task.measure(logits, task.targets(examples)), "examples": len(examples)}
        told = [task.told(answer, e) for answer, e in zip(task.answers(logits), examples, strict=True)]
        return Judgement(split, examples, model_labels, (), probabilities, told, found, [], task)
    # Predictions.
    labels = shared_labels(model_labels, data_labels)
    predicted = decide(probabilities, model_labels, neutral, width)
    gold = [example.label for example in examples]
    right = np.array(predicted) == np.array(gold)
    # Metrics, and remarks on what limits them.
    loss, remarks = None, []
    if set(data_labels) <= set(model_labels):
        loss = cross_entropy(logits, np.array([list(model_labels).index(label) for label in gold]))
    else:
        remarks.append(
            f"The model knows {', '.join(model_labels)}; the data has {', '.join(data_labels)}. "
            f"Without a label of its own for the others, it reaches {ceiling(gold, model_labels):.1%} accuracy at best."
        )
    if others := labels[len(data_labels) :]:
        remarks.append(
            f"The data has no {', '.join(others)}: "
            "macro averages in the metrics are over its labels, in this table over all."
        )
    if neutral:
        remarks.append(f"Predictions whose two probabilities differ by less than {width:g} are called {neutral}.")
    metrics = {
        "loss": loss,
        **scores(gold, predicted, data_labels),
        "ece": None if neutral else expected_calibration_error(probabilities.max(axis=1), right),
        "examples": len(gold),
    }
    return Judgement(split, examples, tuple(model_labels), labels, probabilities, predicted, metrics, remarks, task)
