"""Supervised contrast: texts of one class lie close together, those of others far.

    weight · 1/B · Σ_i -1/|P_i| · Σ_{j ∈ P_i} log( exp(z_i · z_j / τ) / Σ_{k ≠ i} exp(z_i · z_k / τ) )

Gunel et al. 2021, "Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning" (arXiv:2011.01403),
equation 3; Khosla et al. 2020 (arXiv:2004.11362), equation 2. z_i is the pooled vector of text i divided by its length,
P_i are the others of its class in the micro-batch; a text without any counts 0.

Letters: B texts in a micro-batch (a text that stands there twice counts as two), H hidden size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.ranks import ranks
from .regularizer import ABOVE_0, AT_LEAST_0, Batch, Model, Output, Regularizer, Texts, require_pooled


class SupCon(Regularizer):
    name = "supcon"
    paper = "Gunel et al. 2021, arXiv:2011.01403"
    ranges = {"temperature": ABOVE_0, "weight": AT_LEAST_0}
    neutral_at = {"weight": 0}
    only_classes = True

    def __init__(self, temperature: float = 0.3, weight: float = 0.1) -> None:
        self.temperature, self.weight = temperature, weight

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        require_pooled(model, self.name)
        if train.parts > 1:
            raise ValueError("supcon compares one vector of each text, and these texts have several")
        if ranks() > 1:
            raise ValueError("supcon compares the texts of a micro-batch, which several processes share out: start one")

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.pooled is not None
        z = F.normalize(output.pooled.float(), dim=-1)  # (B, H)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        similar = (z @ z.T / self.temperature).masked_fill(itself, -1e9)  # (B, B)
        partners = (batch.classes[:, None] == batch.classes) & ~itself  # (B, B)
        logs = (similar.log_softmax(dim=-1) * partners).sum(dim=-1) / partners.sum(dim=-1).clamp(min=1)  # (B,)
        return -self.weight * logs.mean()
