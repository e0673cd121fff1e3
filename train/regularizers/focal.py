"""Focal loss: texts that the model already has right weigh less.

    L = Σ_c t_c (1 - p_c)^γ (-log p_c)

Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002), equation 4, which is for two classes and
certain labels; the paper's α, a weight for each class, is left out.
"""

from torch import Tensor

from .regularizer import AT_LEAST_0, Regularizer


class Focal(Regularizer):
    name = "focal"
    paper = "Lin et al. 2017, arXiv:1708.02002"
    ranges = {"gamma": AT_LEAST_0}
    neutral_at = {"gamma": 0}
    only_classes = True

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=-1)
        missing = (-log_p.expm1()).clamp(min=1e-12)  # 1 - p; at 0 the gradient of a power below 1 would be infinite
        return -(targets * missing.pow(self.gamma) * log_p).sum(dim=-1)  # (B, C) -> (B,)
