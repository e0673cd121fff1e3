"""AWP: a second pass with every weight matrix moved a little in the direction that hurts most.

    L(w) + L(w + v),   v = γ · ‖w‖ · g / ‖g‖ for each matrix,   g = ∂L / ∂w

Wu et al. 2020, "Adversarial Weight Perturbation Helps Robust Generalization" (arXiv:2004.05884), section 4; γ = 0.005
is that of their runs with TRADES; those with plain adversarial training have 0.01. They learn on moved images and take
the second loss alone; for text it is usual to learn both losses, and so it is here. g is the gradient of all that this
micro-batch has brought, penalties and the second passes of those given before it included; the loss at w + v is the
task loss only. Costs one forward and backward pass more, and memory for the matrices, twice where steps are
accumulated.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...model.model import Model
from ..batch import Batch, Texts
from .regularizer import Regularizer


class AWP(Regularizer):
    name = "awp"
    cost = "a pass"
    paper = "Wu et al. 2020, arXiv:2004.05884"

    def __init__(self, gamma: float = 0.005) -> None:
        if gamma < 0:
            raise ValueError(f"the gamma of awp is {gamma}; it cannot be below 0")
        self.gamma = gamma
        self.neutral = gamma == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.model = model

    def change_batch(self, batch: Batch) -> Batch:
        """Keep the gradients of the micro-batches before this one."""
        self.before = {p: p.grad.clone() for p in self.model.parameters() if p.ndim > 1 and p.grad is not None}
        return batch

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        moved: list[tuple[Tensor, Tensor]] = []  # what was moved, and its own numbers
        try:
            with torch.no_grad():
                for p in self.model.parameters():
                    if p.ndim > 1 and p.grad is not None:
                        g = p.grad - self.before[p] if p in self.before else p.grad
                        moved.append((p, p.clone()))
                        p.add_(g * (self.gamma * p.norm() / g.norm().clamp(min=1e-20)))
            task().backward()
        finally:
            with torch.no_grad():
                for weight, own in moved:
                    weight.copy_(own)
            self.before = {}
