"""Models whose labels are not those of the data: matching by name, and a neutral band for a label that is missing.

Many sentiment models have the labels `negative` and `positive`, while the data has `normal` too. Where the two
probabilities are close, within the band, the prediction is `normal`.

Letters: n examples, C classes of the model.
"""

from collections.abc import Sequence

import numpy as np

from ..weights.load import PLACEHOLDER
from .tasks.metrics import scores


def shared_labels(model_labels: Sequence[str], data_labels: Sequence[str]) -> tuple[str, ...]:
    """The data's labels, then those that only the model has; ValueError where they have no name in common."""
    if not set(model_labels) & set(data_labels):
        if all(PLACEHOLDER.fullmatch(label) for label in model_labels):
            advice = "give the model's rows their names, in the order of its head: evaluate --labels"
        else:
            advice = (
                "where they mean the same, give them the same names, in the data or in the model's config.json "
                "(id2label); else fine-tune the model on such data (tezukuri finetune --reset-head)"
            )
        raise ValueError(
            f"the model has the labels {', '.join(model_labels)}, the data {', '.join(data_labels)}: no name in "
            f"common; {advice}"
        )
    return (*data_labels, *(label for label in model_labels if label not in data_labels))


def ceiling(gold: Sequence[str], model_labels: Sequence[str]) -> float:
    """The highest accuracy possible: the share of examples whose label the model has."""
    return float(np.isin(np.array(gold), list(model_labels)).mean())


def neutral_label(model_labels: Sequence[str], data_labels: Sequence[str]) -> str:
    """The one label that the data has and a two-label model lacks; ValueError where this is not the case."""
    lacking = [label for label in data_labels if label not in model_labels]
    if len(model_labels) != 2 or len(lacking) != 1:
        raise ValueError(
            "a neutral band is for a model of two labels and data of the same two and one more; here they are "
            f"{', '.join(model_labels)} and {', '.join(data_labels)}: leave --neutral-band out"
        )
    return lacking[0]


def decide(probabilities: np.ndarray, model_labels: Sequence[str], neutral: str | None, width: float) -> list[str]:
    """(n, C) probabilities → n labels: the most probable, or `neutral` where |p₁ - p₂| < width."""
    predicted = [model_labels[i] for i in probabilities.argmax(axis=1)]
    if neutral is None:
        return predicted
    close = np.abs(probabilities[:, 0] - probabilities[:, 1]) < width
    return [neutral if inside else label for inside, label in zip(close, predicted, strict=True)]


def tune_width(
    probabilities: np.ndarray, gold: Sequence[str], model_labels: Sequence[str], data_labels: Sequence[str]
) -> float:
    """The width of 0.00, 0.01, … 1.00 with the highest macro-F1, the narrowest of equals. For the dev split only."""
    neutral = neutral_label(model_labels, data_labels)
    widths = [i / 100 for i in range(101)]
    f1 = [scores(gold, decide(probabilities, model_labels, neutral, w), data_labels)["f1"] for w in widths]
    return widths[int(np.argmax(f1))]
