"""Focal loss: texts that the model already has right weigh less.

    L = Σ_c t_c (1 - p_c)^γ (-log p_c)

Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002), equation 4, which is for two classes and
certain labels; with targets t that are shared among classes, as here, each class has its own factor. The paper's α, a
weight for each class, is left out. Costs nothing. It takes the place of the cross-entropy, so that `train_loss` is it.
"""

from torch import Tensor

from .regularizer import Regularizer


class Focal(Regularizer):
    name = "focal"
    cost = "none"
    paper = "Lin et al. 2017, arXiv:1708.02002"

    def __init__(self, gamma: float = 2.0) -> None:
        if gamma < 0:
            raise ValueError(f"the gamma of focal is {gamma}; it cannot be below 0")
        self.gamma = gamma
        self.neutral = gamma == 0

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=-1)
        missing = (-log_p.expm1()).clamp(min=1e-12)  # 1 - p; at 0 the gradient of a power below 1 would be infinite
        return -(targets * missing.pow(self.gamma) * log_p).sum(dim=-1)  # (B, C) -> (B,)
