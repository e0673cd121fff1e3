"""Label smoothing: no class is to be quite certain.

    t ← (1 - ε) · t + ε / C

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567), section 7. t are
the targets (B, C). Costs nothing.
"""

from dataclasses import replace

from ..batch import Batch
from .regularizer import Regularizer


class LabelSmoothing(Regularizer):
    name = "label-smoothing"
    cost = "none"
    paper = "Szegedy et al. 2016, arXiv:1512.00567"

    def __init__(self, epsilon: float = 0.1) -> None:
        if not 0 <= epsilon < 1:
            raise ValueError(f"the epsilon of label-smoothing is {epsilon}; it lies in [0, 1)")
        self.epsilon = epsilon
        self.neutral = epsilon == 0

    def change_batch(self, batch: Batch) -> Batch:
        targets = batch.targets
        return replace(batch, targets=(1 - self.epsilon) * targets + self.epsilon / targets.shape[1])
