"""R-Drop: two passes with different dropout should say the same.

    L = (CE(p) + CE(q)) / 2 + weight · (KL(p ‖ q) + KL(q ‖ p)) / 2

Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks" (arXiv:2106.14448), section 2.1. Each text stands
in the batch twice. The paper sums the two cross-entropies, so that `weight` is half of its α; its code sums the
divergence over the batch, where this is a mean per text.
"""

from collections.abc import Callable

from torch import Tensor

from .regularizer import AT_LEAST_0, Batch, Model, Output, Regularizer, Texts


class RDrop(Regularizer):
    name = "r-drop"
    cost = "a pass"
    paper = "Liang et al. 2021, arXiv:2106.14448"
    ranges = {"weight": AT_LEAST_0}
    neutral_at = {"weight": 0}
    replayable = True

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.apart: Callable[..., Tensor] | None = None

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.apart = model.classifier.apart

    def change_batch(self, batch: Batch) -> Batch:
        return batch.twice()

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.logits is not None and self.apart
        p, q = output.logits.float().chunk(2)  # (2B, C) -> 2 × (B, C)
        return self.weight * self.apart(p, q, both_ways=True) / 2
