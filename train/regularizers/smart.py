"""SMART: where the embeddings move a little, the answer should stay the same.

    weight · [KL(p ‖ q) + KL(q ‖ p)],   q = p(x + δ),   δ = δ₀ + η · g / ‖g‖,   g = ∇_δ [KL(p ‖ q) + KL(q ‖ p)] at δ₀

Jiang et al. 2020, "SMART: Robust and Efficient Fine-Tuning through Principled Regularized Optimization"
(arXiv:1911.03437): its smoothness-inducing adversarial regularization, with one step of ascent; δ₀ is normal with
deviation σ. The paper bounds δ by its largest number, here ‖g‖ is the length over a sequence. x is what the embeddings
hand to the encoder. Where there is dropout, g is mostly that of the difference between two masks.

Letters: B texts in a micro-batch, C classes, T tokens in the packed batch, H hidden size.
"""

import torch
from torch import Tensor

from ...model.packing import Packed, pack
from ...model.precision import autocast
from .perturbation import Perturbation, unit
from .regularizer import AT_LEAST_0, Batch, Model, Output, Regularizer, Texts


class SMART(Regularizer):
    name = "smart"
    cost = "two passes"
    paper = "Jiang et al. 2020, arXiv:1911.03437"
    ranges = {"sigma": AT_LEAST_0, "weight": AT_LEAST_0}
    neutral_at = {"weight": 0}
    refuses = ("fgm", "freelb")  # one adversary of the embeddings at a time

    def __init__(self, eta: float = 1.0, sigma: float = 1e-5, weight: float = 1.0) -> None:
        self.eta, self.sigma, self.weight = eta, sigma, weight
        self.model: Model | None = None
        self.perturbation = Perturbation()

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.model = model
        self.hooks = [self.perturbation.begin(model.bert)]

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.logits is not None and self.model
        clean, width, apart = output.logits, self.model.config.hidden_size, self.model.classifier.apart
        packed = pack(batch.texts).to(clean.device)
        step = (self.sigma * torch.randn(len(packed.ids), width, device=clean.device)).requires_grad_()  # (T, H)
        moved = self.moved(self.model, packed, step, clean.dtype)
        (gradient,) = torch.autograd.grad(apart(clean.detach(), moved, both_ways=True), step)
        step = step.detach() + self.eta * unit(gradient, packed)
        return self.weight * apart(clean, self.moved(self.model, packed, step, clean.dtype), both_ways=True)

    def moved(self, model: Model, packed: Packed, step: Tensor, precision: torch.dtype) -> Tensor:
        """The logits (B, C) where the embeddings are moved by (T, H)."""
        self.perturbation.step = step
        try:
            with autocast(step.device, precision):
                return model(packed).logits
        finally:
            self.perturbation.step = None
