"""SMART: where the embeddings move a little, the answer should stay the same.

    weight · [KL(p ‖ q) + KL(q ‖ p)],   q = p(x + δ),   δ = δ₀ + η · g / ‖g‖,   g = ∇_δ [KL(p ‖ q) + KL(q ‖ p)] at δ₀

Jiang et al. 2020, "SMART: Robust and Efficient Fine-Tuning through Principled Regularized Optimization"
(arXiv:1911.03437): its smoothness-inducing adversarial regularization, with one step of ascent; δ₀ is normal with
deviation σ. The other half of the paper, the Bregman proximal point optimization, is left out. The paper measures g and
bounds δ by its largest number; here it is the length over a sequence, and one step of length η needs no bound. x is
what the embeddings hand to the encoder. Costs two forward and backward passes more, one of them without the weights'
gradients. Where there is dropout, σ is so small that the first direction is that of the difference between two masks.

Letters: B texts in a micro-batch, C classes, T tokens in the packed batch, H hidden size.
"""

import torch
from torch import Tensor

from ...model.model import Model
from ...model.packing import Output, Packed, pack
from ...model.precision import autocast
from ..batch import Batch, Texts
from .nudge import Nudge, unit
from .regularizer import Regularizer


class SMART(Regularizer):
    name = "smart"
    cost = "two passes"
    paper = "Jiang et al. 2020, arXiv:1911.03437"
    refuses = ("fgm", "freelb")  # one adversary of the embeddings at a time

    def __init__(self, eta: float = 1.0, sigma: float = 1e-5, weight: float = 1.0) -> None:
        if sigma < 0:
            raise ValueError(f"the sigma of smart is {sigma}; it cannot be below 0")
        self.eta = eta
        self.sigma = sigma
        if weight < 0:
            raise ValueError(f"the weight of smart is {weight}; it cannot be below 0")
        self.weight = weight
        self.neutral = weight == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.model = model
        self.nudge = Nudge(model.bert)

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.logits is not None
        clean, width = output.logits, self.model.config.hidden_size
        packed = pack(batch.texts).to(clean.device)
        step = (self.sigma * torch.randn(len(packed.ids), width, device=clean.device)).requires_grad_()  # (T, H)
        apart = self.model.classifier.apart(clean.detach(), self.moved(packed, step, clean.dtype), both_ways=True)
        (gradient,) = torch.autograd.grad(apart, step)
        step = step.detach() + self.eta * unit(gradient, packed)
        return self.weight * self.model.classifier.apart(clean, self.moved(packed, step, clean.dtype), both_ways=True)

    def moved(self, packed: Packed, step: Tensor, precision: torch.dtype) -> Tensor:
        """The logits (B, C) where the embeddings are moved by (T, H)."""
        self.nudge.step = step
        try:
            with autocast(step.device, precision):
                output = self.model(packed)
        finally:
            self.nudge.step = None
        return output.logits

    def finish(self, model: Model) -> None:
        self.nudge.remove()
