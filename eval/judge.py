"""Logits of one split against its labels, whatever labels the model has.

Letters: n examples, C classes of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .metrics import expected_calibration_error, measure, scores, softmax
from .neutral import ceiling, decide, shared_labels


class Labelled(Protocol):
    """What judging needs of an example."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Judgement:
    """One split, judged."""

    split: str
    examples: Sequence[Labelled]  # n
    model_labels: tuple[str, ...]  # C, the columns of `probabilities`
    labels: tuple[str, ...]  # rows and columns of the confusion matrix
    probabilities: np.ndarray  # (n, C)
    predicted: list[str]  # n
    metrics: dict[str, float | None]
    remarks: list[str]

    @property
    def gold(self) -> list[str]:
        return [example.label for example in self.examples]


def judge(
    split: str,
    examples: Sequence[Labelled],
    logits: np.ndarray,
    model_labels: Sequence[str],
    data_labels: Sequence[str],
    neutral: str | None = None,
    width: float = 0.0,
) -> Judgement:
    """Compare (n, C) logits with the labels of n examples, by name.

    Where model and data have the same labels, all metrics are there. Else the loss is None, since labels that the model
    lacks have no probability; so is the calibration error where a band of doubt decides (`neutral`, `width`), since
    what it calls neutral has none either. Means are over the data's labels.
    """
    labels = shared_labels(model_labels, data_labels)
    probabilities = softmax(logits)
    predicted = decide(probabilities, model_labels, neutral, width)
    gold = [example.label for example in examples]
    metrics: dict[str, Any]
    remarks = []
    if sorted(model_labels) == sorted(data_labels):
        order = [list(model_labels).index(label) for label in data_labels]
        classes = np.array([list(data_labels).index(label) for label in gold])
        metrics = dict(measure(logits[:, order], classes, data_labels))
    else:
        right = np.array(predicted) == np.array(gold)
        ece = None if neutral else expected_calibration_error(probabilities.max(axis=1), right)
        metrics = {"loss": None, **scores(gold, predicted, data_labels), "ece": ece}
        remarks.append(
            f"The model knows {', '.join(model_labels)}; the data has {', '.join(data_labels)}. "
            f"Without a label of its own for the others, it reaches {ceiling(gold, model_labels):.1%} accuracy at best."
        )
        if neutral:
            remarks.append(f"Predictions whose two probabilities differ by less than {width:g} are called {neutral}.")
    return Judgement(
        split,
        examples,
        tuple(model_labels),
        labels,
        probabilities,
        predicted,
        metrics | {"examples": len(gold)},
        remarks,
    )
