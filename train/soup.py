"""Greedy soup: the mean of the weights of several fine-tuned models, at the cost of one.

Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time" (arXiv:2203.05482), recipe 1. They must come from the same pretrained weights.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..eval.predict import Scorer
from ..eval.tasks.classify import Classify
from ..model.model import Model
from ..model.precision import choose_device
from ..tokenize.tokenizer import Tokenizer
from ..weights.load import load_ready_classifier


class Soup(NamedTuple):
    model: Model
    tokenizer: Tokenizer
    chosen: list[Path]  # the models in it, in the order in which they came
    accuracy: float  # on the texts that chose them


def greedy_soup(folders: Sequence[Path], texts: Sequence[str], labels: Sequence[str], device: str = "auto") -> Soup:
    """Average models in the order of their accuracy, each where the mean is then no worse on these texts.

    Args:
        folders: of models with one vocabulary and the same labels.
        texts: n of the dev split; `labels` are theirs.

    Raises:
        ValueError: there is no model, or two have different shapes or labels.
    """
    if not folders:
        raise ValueError("a soup needs models: none of the runs has kept its own")
    first = load_ready_classifier(folders[0])
    model, tokenizer = first.model.to(choose_device(device)).eval(), first.tokenizer
    scorer = Scorer(model, tokenizer, Classify(model.labels))
    encodings = scorer.encode(texts)
    gold = np.array([model.labels.index(label) for label in labels])

    def weights_of(folder: Path) -> list[torch.Tensor]:
        other = load_ready_classifier(folder).model
        if other.labels != model.labels or [p.shape for p in other.parameters()] != shapes:
            raise ValueError(f"{folder} cannot be averaged with {folders[0]}: its labels or its sizes are others")
        return [p.detach().to(place) for p in other.parameters()]

    def accuracy_with(weights: Sequence[torch.Tensor]) -> float:
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return float((scorer.logits(encodings).argmax(axis=-1) == gold).mean())

    shapes, place = [p.shape for p in model.parameters()], next(model.parameters()).device
    ordered = sorted(folders, key=lambda folder: -accuracy_with(weights_of(folder)))
    mean, chosen = weights_of(ordered[0]), [ordered[0]]
    best = accuracy_with(mean)
    for folder in ordered[1:]:
        tried = [m + (w - m) / (len(chosen) + 1) for m, w in zip(mean, weights_of(folder), strict=True)]
        found = accuracy_with(tried)
        if found >= best:
            mean, best = tried, found
            chosen.append(folder)
    accuracy_with(mean)  # the weights are to stay in the model
    return Soup(model, tokenizer, chosen, best)
