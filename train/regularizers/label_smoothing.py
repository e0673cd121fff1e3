"""Label smoothing: no class is to be quite certain.

    t ← (1 - ε) · t + ε / C

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567), section 7. t are
the targets (B, C).
"""

from dataclasses import replace

from .regularizer import FROM_0_BELOW_1, Batch, Regularizer


class LabelSmoothing(Regularizer):
    name = "label-smoothing"
    paper = "Szegedy et al. 2016, arXiv:1512.00567"
    ranges = {"epsilon": FROM_0_BELOW_1}
    neutral_at = {"epsilon": 0}
    only_classes = True
    replayable = True

    def __init__(self, epsilon: float = 0.1) -> None:
        self.epsilon = epsilon

    def change_batch(self, batch: Batch) -> Batch:
        targets = batch.targets
        return replace(batch, targets=(1 - self.epsilon) * targets + self.epsilon / targets.shape[1])
