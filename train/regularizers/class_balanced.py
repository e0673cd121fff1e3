"""Class-balanced loss: rare classes weigh more.

    L = - w_y Σ_c t_c log p_c,   w_c ∝ (1 - β) / (1 - β^n_c),   the mean weight of a training text being 1

Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples" (arXiv:1901.05555), section 4; n_c training
texts have class c. β = 1 is its limit, weights of 1 / n_c ("balanced"). y is a text's own class, the likeliest of its
targets t. A weight for each class of shared targets (smoothing, votes), as torch's cross_entropy has it, would teach
the rare class to every text: its small share would weigh more than the text's own.
"""

import numpy as np
import torch
from torch import Tensor

from .regularizer import FROM_0_TO_1, Model, Regularizer, Texts


class ClassBalanced(Regularizer):
    name = "class-balanced"
    paper = "Cui et al. 2019, arXiv:1901.05555"
    ranges = {"beta": FROM_0_TO_1}
    neutral_at = {"beta": 0}
    only_classes = True
    replayable = True

    def __init__(self, beta: float = 0.999) -> None:
        self.beta = beta
        self.weights = torch.ones(())  # (C,) from `begin` on

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if train.parts > 1:
            raise ValueError("class-balanced weighs classes by their number of texts, and choices have no classes")
        counts = np.bincount(train.gold, minlength=len(model.labels))
        self.weights = class_weights(counts, self.beta).to(next(model.parameters()).device)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        own = self.weights[targets.argmax(dim=-1)]  # (B,)
        return -own * (targets * logits.log_softmax(dim=-1)).sum(dim=-1)  # (B, C) -> (B,)


def class_weights(counts: np.ndarray, beta: float) -> Tensor:
    """(C,) counts → (C,) weights; 0 for a class without texts."""
    effective = counts if beta == 1 else (1 - beta**counts) / (1 - beta)  # how many different texts they stand for
    weights = np.where(counts > 0, 1 / np.maximum(effective, 1), 0)
    return torch.from_numpy(weights * counts.sum() / (weights * counts).sum()).float()
