"""Focal loss: texts that the model already has right weigh less.

    L = - (1 - p_y)^γ Σ_c t_c log p_c

Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002), equation 4, which is for two classes and
certain labels; the paper's α, a weight for each class, is left out. y is a text's own class, the likeliest of its
targets t; a factor for each share of them would make the smallest shares count most.
"""

from torch import Tensor

from .regularizer import AT_LEAST_0, Regularizer


class Focal(Regularizer):
    name = "focal"
    paper = "Lin et al. 2017, arXiv:1708.02002"
    ranges = {"gamma": AT_LEAST_0}
    neutral_at = {"gamma": 0}
    only_classes = True
    replayable = True

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=-1)
        own = log_p.gather(-1, targets.argmax(dim=-1, keepdim=True))[:, 0]  # (B,) log p_y
        missing = (-own.expm1()).clamp(min=1e-12)  # 1 - p; at 0 the gradient of a power below 1 would be infinite
        return -missing.pow(self.gamma) * (targets * log_p).sum(dim=-1)  # (B, C) -> (B,)
