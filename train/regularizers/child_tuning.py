"""Child-Tuning: at each step another random part of the weights learns, the others rest.

    g ← g · m / p,   m ~ Bernoulli(p), drawn anew for every number of the gradient at every step

Xu et al. 2021, "Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning"
(arXiv:2109.05687), section 2.2, the task-free variant Child-Tuning_F. What rests still moves with Adam's momentum and
weight decay, as in the authors' code; theirs masks after clipping, ours before. p is rounded to a multiple of 2⁻¹⁶.
"""

from typing import Any

import torch

from ...model.dropout import STEPS
from .regularizer import Model, Range, Regularizer, Texts


class ChildTuning(Regularizer):
    name = "child-tuning"
    paper = "Xu et al. 2021, arXiv:2109.05687"
    ranges = {"p": Range(lambda p: 1 / STEPS <= p <= 1, f"it lies in [{1 / STEPS:.1g}, 1]")}
    neutral_at = {"p": 1}

    def __init__(self, p: float = 0.3) -> None:
        self.p = p
        self.generator = torch.Generator()

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        """Every rank must draw the same masks, so they come from a generator of their own."""
        device = next(model.parameters()).device
        self.generator = torch.Generator(device).manual_seed(torch.initial_seed() + 1)

    @torch.no_grad()
    def change_gradients(self, model: Model) -> None:
        kept = min(round(self.p * STEPS), STEPS - 1)
        for parameter in model.parameters():
            if (g := parameter.grad) is not None:
                draws = torch.empty(g.numel() // 4 + 1, dtype=torch.int64, device=g.device)
                draws.random_(-(1 << 63), None, generator=self.generator)  # 64 bits, for four numbers
                g.mul_(draws.view(torch.int16)[: g.numel()].view(g.shape) < kept - STEPS // 2).mul_(STEPS / kept)

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
