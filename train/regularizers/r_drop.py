"""R-Drop: two passes with different dropout should say the same.

    L = (CE(p) + CE(q)) / 2 + weight · (KL(p ‖ q) + KL(q ‖ p)) / 2

Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks" (arXiv:2106.14448), section 2.1. Each text stands
in the batch twice, so it costs one forward and backward pass more. The paper sums the two cross-entropies where this
takes their mean, so that `weight` is half of its α. The divergence is a mean per text: in the authors'
code it is a sum over the batch, so that their weight depends on the batch size, and ours does not.
"""

from torch import Tensor

from ...model.model import Model
from ...model.packing import Output
from ..batch import Batch, Texts
from .regularizer import Regularizer


class RDrop(Regularizer):
    name = "r-drop"
    cost = "a pass"
    paper = "Liang et al. 2021, arXiv:2106.14448"

    def __init__(self, weight: float = 1.0) -> None:
        if weight < 0:
            raise ValueError(f"the weight of r-drop is {weight}; it cannot be below 0")
        self.weight = weight
        self.neutral = weight == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.apart = model.classifier.apart

    def change_batch(self, batch: Batch) -> Batch:
        return batch.twice()

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.logits is not None
        p, q = output.logits.float().chunk(2)  # (2B, C) -> 2 × (B, C)
        return self.weight * self.apart(p, q, both_ways=True) / 2
