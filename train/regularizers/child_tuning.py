"""Child-Tuning: at each step another random part of the weights learns, the others rest.

    g ← g · m / p,   m ~ Bernoulli(p), drawn anew for every number of the gradient at every step

Xu et al. 2021, "Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning"
(arXiv:2109.05687), section 2.2, the task-free variant Child-Tuning_F; p there is one of 0.2, 0.3 and 0.4. As in the
authors' code all weights are masked, those of the classifier too, and what rests still moves with Adam's momentum and
weight decay. Theirs are masked after the gradient is cut to its greatest length, ours before. Costs a random draw for
every weight, no pass. p is rounded to a multiple of 2⁻¹⁶, as the rate of model/dropout.py is, and for the same reason.
"""

from typing import Any

import torch

from ...model.dropout import STEPS
from ...model.model import Model
from ..batch import Texts
from .regularizer import Regularizer


class ChildTuning(Regularizer):
    name = "child-tuning"
    cost = "none"
    paper = "Xu et al. 2021, arXiv:2109.05687"

    def __init__(self, p: float = 0.3) -> None:
        if not 1 / STEPS <= p <= 1:
            raise ValueError(f"the p of child-tuning is {p}; it lies in [{1 / STEPS:.1g}, 1]")
        self.p = p
        self.neutral = p == 1

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        """Every rank must draw the same masks, so they come from a generator of their own."""
        device = next(model.parameters()).device
        self.generator = torch.Generator(device).manual_seed(torch.initial_seed() + 1)

    @torch.no_grad()
    def change_gradients(self, model: Model) -> None:
        kept = round(self.p * STEPS)
        for parameter in model.parameters():
            if (g := parameter.grad) is not None:
                draws = torch.empty(g.numel() // 4 + 1, dtype=torch.int64, device=g.device)
                draws.random_(-(1 << 63), None, generator=self.generator)  # 64 bits, for four numbers
                g.mul_(draws.view(torch.int16)[: g.numel()].view(g.shape) < kept - STEPS // 2).mul_(STEPS / kept)

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
