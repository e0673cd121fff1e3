"""R-Drop: two passes with different dropout should say the same.

    L = (CE(p) + CE(q)) / 2 + weight · (KL(p ‖ q) + KL(q ‖ p)) / 2

Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks" (arXiv:2106.14448), section 2.1. Each text stands
in the batch twice, so it costs one forward and backward pass more. The paper sums the two cross-entropies where this
takes their mean, so that `weight` is half of its α. The divergence is a mean per text: in the authors'
code it is a sum over the batch, so that their weight depends on the batch size, and ours does not.
"""

from torch import Tensor
from torch.nn import functional as F

from ...model.bert import Output
from ..batch import Batch
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

    def change_batch(self, batch: Batch) -> Batch:
        return batch.twice()

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.logits is not None
        p, q = output.logits.float().log_softmax(dim=-1).chunk(2)  # (2B, C) -> 2 × (B, C)
        there = F.kl_div(q, p, log_target=True, reduction="batchmean")  # KL(p ‖ q)
        back = F.kl_div(p, q, log_target=True, reduction="batchmean")
        return self.weight * (there + back) / 2
