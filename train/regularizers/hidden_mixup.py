"""Hidden mixup: learn from blends of two texts' vectors, with their targets blended alike.

    h ← λ h + (1 - λ) h',   t ← λ t + (1 - λ) t',   λ ~ Beta(α, α)

Verma et al. 2019, "Manifold Mixup" (arXiv:1806.05236), section 2, in a layer drawn anew each time; here h is always the
pooled vector, as in Guo et al. 2019 ("senMixup", arXiv:1905.08941). The pair (h', t') of a text is another one of its
micro-batch, which has one λ and one permutation, in second passes too.

Letters: B texts in a micro-batch, C classes.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from .regularizer import AT_LEAST_0, Batch, Model, Regularizer, Texts


class HiddenMixup(Regularizer):
    name = "hidden-mixup"
    paper = "Verma et al. 2019, arXiv:1806.05236"
    ranges = {"alpha": AT_LEAST_0}
    neutral_at = {"alpha": 0}
    # Those that ask something of a text by its number or its class, or that a text and its copy say the same.
    refuses = ("r-drop", "simcse", "supcon", "distillation", "judge-votes")

    def __init__(self, alpha: float = 0.2) -> None:
        self.alpha = alpha
        self.kept = torch.ones(())  # λ of the micro-batch
        self.partner = torch.empty(0, dtype=torch.int64)  # (B,)

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if train.parts > 1:
            raise ValueError("hidden-mixup mixes one vector of each text, and these texts have several")
        if model.bert.pooler is None or model.reads != "first":
            raise ValueError("hidden-mixup mixes what a pooler gives of each text, which this model has not")
        self.hooks = [model.bert.pooler.register_forward_hook(self.mix)]

    def change_batch(self, batch: Batch) -> Batch:
        size, device = len(batch.rows), batch.targets.device
        self.kept = torch.distributions.Beta(self.alpha, self.alpha).sample().to(device)
        self.partner = torch.randperm(size).to(device)
        targets = batch.targets.unflatten(0, (size, -1))  # (B·k, C) -> (B, k, C)
        return replace(batch, targets=self.blend(targets).flatten(0, 1))

    def blend(self, x: Tensor) -> Tensor:
        """(B, …) → (B, …)"""
        return self.kept * x + (1 - self.kept) * x[self.partner]

    def mix(self, pooler: nn.Module, inputs: tuple, pooled: Tensor) -> Tensor | None:
        return self.blend(pooled) if pooler.training else None
