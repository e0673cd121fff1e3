"""AWP: a second pass with every weight matrix moved a little in the direction that hurts most.

    L(w) + L(w + v),   v = γ · ‖w‖ · g / ‖g‖ for each matrix,   g = ∂L / ∂w of all that this micro-batch has brought

Wu et al. 2020, "Adversarial Weight Perturbation Helps Robust Generalization" (arXiv:2004.05884), section 4; γ is that
of their runs with TRADES, which learn L(w + v) alone, on moved images. L(w + v) is the task loss only. Costs a forward
and backward pass, and memory for the matrices, twice where steps are accumulated.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .regularizer import AT_LEAST_0, Batch, Model, Regularizer, Texts


class AWP(Regularizer):
    name = "awp"
    cost = "a pass"
    paper = "Wu et al. 2020, arXiv:2004.05884"
    ranges = {"gamma": AT_LEAST_0}
    neutral_at = {"gamma": 0}

    def __init__(self, gamma: float = 0.005) -> None:
        self.gamma = gamma
        self.model: Model | None = None
        self.before: dict[Tensor, Tensor] = {}  # gradients of the micro-batches before this one

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.model, self.before = model, {}

    def change_batch(self, batch: Batch) -> Batch:
        assert self.model
        self.before = {p: p.grad.clone() for p in self.model.parameters() if p.ndim > 1 and p.grad is not None}
        return batch

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        assert self.model
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
