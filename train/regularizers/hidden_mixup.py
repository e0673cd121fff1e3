"""Hidden mixup: learn from blends of two texts' vectors, with their targets blended alike.

    h ← λ h + (1 - λ) h',   t ← λ t + (1 - λ) t',   λ ~ Beta(α, α)

Verma et al. 2019, "Manifold Mixup" (arXiv:1806.05236), section 2, in which the layer is drawn anew each time; here it
is always the pooled vector, as Guo et al. 2019 mix sentences ("senMixup", arXiv:1905.08941). The pair (h',
t') of a text is another one of its micro-batch, by a random permutation; there is one λ for a micro-batch. Second
passes over it have the same λ and pairs. Costs nothing. Not together with what compares texts or passes one by one.

Letters: B texts in a micro-batch, H hidden size, C classes.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...model.model import Model
from ..batch import Batch, Texts
from .regularizer import Regularizer


class HiddenMixup(Regularizer):
    name = "hidden-mixup"
    cost = "none"
    paper = "Verma et al. 2019, arXiv:1806.05236"
    # Those that ask something of a text by its number or its class, or that a text and its copy say the same.
    refuses = ("r-drop", "simcse", "supcon", "distillation", "judge-votes")

    def __init__(self, alpha: float = 0.2) -> None:
        if alpha < 0:
            raise ValueError(f"the alpha of hidden-mixup is {alpha}; it cannot be below 0")
        self.alpha = alpha
        self.neutral = alpha == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if model.bert.pooler is None or model.reads != "first" or train.parts > 1:
            raise ValueError("hidden-mixup mixes what a pooler gives of each text, which this model has not")
        self.hook = model.bert.pooler.register_forward_hook(self.mix)

    def change_batch(self, batch: Batch) -> Batch:
        size, device = len(batch.rows), batch.targets.device
        self.kept = torch.distributions.Beta(self.alpha, self.alpha).sample().to(device)  # λ
        self.partner = torch.randperm(size).to(device)  # (B,)
        targets = batch.targets.unflatten(0, (size, -1))  # (B·k, C) -> (B, k, C)
        return replace(batch, targets=self.blend(targets).flatten(0, 1))

    def blend(self, x: Tensor) -> Tensor:
        """(B, …) → (B, …)"""
        return self.kept * x + (1 - self.kept) * x[self.partner]

    def mix(self, pooler: nn.Module, inputs: tuple, pooled: Tensor) -> Tensor | None:
        return self.blend(pooled) if pooler.training else None

    def finish(self, model: Model) -> None:
        self.hook.remove()
