"""L2-SP: weights are to stay near the pretrained ones, and the classifier's near zero.

    L + α / 2 · ‖w - w⁰‖² + β / 2 · ‖w'‖²,   w of all but the classifier, w⁰ as they began, w' of the classifier

Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks" (arXiv:1802.01483), section
3. The defaults are ours. AdamW's own weight decay still pulls all matrices to zero: give `--weight-decay 0` with it.
Costs memory for one more copy of the weights.
"""

from typing import Any

import torch
from torch import Tensor

from .regularizer import AT_LEAST_0, Batch, Model, Output, Regularizer, Texts


class L2SP(Regularizer):
    name = "l2-sp"
    paper = "Li et al. 2018, arXiv:1802.01483"
    ranges = {"alpha": AT_LEAST_0, "beta": AT_LEAST_0}
    neutral_at = {"alpha": 0, "beta": 0}
    refuses = ("fresh-top",)  # what is made anew has no place to stay near

    def __init__(self, alpha: float = 0.01, beta: float = 0.01) -> None:
        self.alpha, self.beta = alpha, beta
        self.weights: list[Tensor] = []  # of all but the classifier
        self.start: list[Tensor] = []
        self.classifier: list[Tensor] = []

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.weights, self.classifier = list(model.bert.parameters()), list(model.classifier.parameters())
        self.start = [weight.detach().clone() for weight in self.weights]

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        away = torch.stack([(w - start).pow(2).sum() for w, start in zip(self.weights, self.start, strict=True)])
        penalty = self.alpha / 2 * away.sum()
        if not self.classifier:  # a head of sentence vectors
            return penalty
        return penalty + self.beta / 2 * torch.stack([w.pow(2).sum() for w in self.classifier]).sum()

    def state(self) -> dict[str, Any]:
        return {"start": self.start}

    def load_state(self, state: dict[str, Any]) -> None:
        for start, kept in zip(self.start, state["start"], strict=True):
            start.copy_(kept)
