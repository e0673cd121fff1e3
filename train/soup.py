"""Greedy soup: the mean of the weights of several models, fine-tuned from the same pretrained weights.

Wortsman et al. 2022, "Model soups" (arXiv:2203.05482), recipe 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..data.dataset import Example
from ..eval.predict import Scorer, how_to_cut
from ..eval.tasks.classify import Classify
from ..model.model import Model
from ..model.precision import choose_device
from ..tokenize.tokenizer import Tokenizer
from ..weights.load import load_ready_classifier


class Soup(NamedTuple):
    model: Model
    tokenizer: Tokenizer
    chosen: list[Path]  # the models in it, in order
    accuracy: float  # on the dev texts


def greedy_soup(folders: Sequence[Path], dev: Sequence[Example], device: str = "auto") -> Soup:
    """Average models in the order of their accuracy, each where the mean is then no worse on the dev texts.

    ValueError where there is no model, or two have different shapes or labels.
    """
    # One model takes all weights in turn.
    if not folders:
        raise ValueError("a soup needs models: none of the runs has kept its own")
    first = load_ready_classifier(folders[0])
    model, tokenizer = first.model.to(choose_device(device)).eval(), first.tokenizer
    how, _ = how_to_cut(model, first.cut)
    scorer = Scorer(model, tokenizer, Classify(model.labels), how)
    encodings = scorer.encode(dev)
    gold = np.array([model.labels.index(e.label) for e in dev])

    def weights_of(folder: Path) -> list[torch.Tensor]:
        other = load_ready_classifier(folder).model
        if other.labels != model.labels or [p.shape for p in other.parameters()] != shapes:
            raise ValueError(f"{folder} cannot be averaged with {folders[0]}: they have other labels or sizes")
        return [p.detach().to(place) for p in other.parameters()]

    def accuracy_with(weights: Sequence[torch.Tensor]) -> float:
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return float((scorer.logits(encodings).argmax(axis=-1) == gold).mean())

    # The best model, then each next one that does not lower the mean's accuracy.
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
    accuracy_with(mean)  # which puts the weights into the model
    return Soup(model, tokenizer, chosen, best)
