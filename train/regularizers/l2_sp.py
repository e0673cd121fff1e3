"""L2-SP: weights are to stay near the pretrained ones, and the classifier's near zero.

    L + α / 2 · ‖w - w⁰‖² + β / 2 · ‖w'‖²,   w of all but the classifier, w⁰ as they began, w' of the classifier

Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks" (arXiv:1802.01483), section
3. The paper searches for α and β; these defaults are ours, chosen to be mild, and were not searched for. AdamW divides
gradients by their size, those of a penalty too, so that α says less about how strongly w is held than it does under the
paper's SGD; and its own weight decay still pulls all matrices to zero: give `--weight-decay 0` with it. Costs memory
for one more copy of the weights, and no pass.
"""

from typing import Any

import torch
from torch import Tensor

from ...model.model import Model
from ...model.packing import Output
from ..batch import Batch, Texts
from .regularizer import Regularizer


class L2SP(Regularizer):
    name = "l2-sp"
    cost = "none"
    paper = "Li et al. 2018, arXiv:1802.01483"
    refuses = ("fresh-top",)  # what is made anew has no place to stay near

    def __init__(self, alpha: float = 0.01, beta: float = 0.01) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if value < 0:
                raise ValueError(f"the {name} of l2-sp is {value}; it cannot be below 0")
        self.alpha, self.beta = alpha, beta
        self.neutral = alpha == beta == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.weights = list(model.bert.parameters())
        self.start = [weight.detach().clone() for weight in self.weights]
        self.classifier = list(model.classifier.parameters())

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        away = torch.stack([(w - start).pow(2).sum() for w, start in zip(self.weights, self.start, strict=True)])
        size = torch.stack([w.pow(2).sum() for w in self.classifier])
        return self.alpha / 2 * away.sum() + self.beta / 2 * size.sum()

    def state(self) -> dict[str, Any]:
        return {"start": self.start}

    def load_state(self, state: dict[str, Any]) -> None:
        for start, kept in zip(self.start, state["start"], strict=True):
            start.copy_(kept)
