"""Supervised contrast: texts of one class lie close together, those of others far.

    weight · 1/B · Σ_i -1/|P_i| · Σ_{j ∈ P_i} log( exp(z_i · z_j / τ) / Σ_{k ≠ i} exp(z_i · z_k / τ) )

Gunel et al. 2021, "Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning" (arXiv:2011.01403),
equation 3; Khosla et al. 2020 (arXiv:2004.11362), equation 2. z_i is the pooled vector of text i divided by its length,
P_i are the others of its class in the micro-batch, with which alone it is compared; a text without such a partner
counts 0. Gunel et al. sum over the batch and weigh cross-entropy and this by 1 - λ and λ; here it is the mean over the
B texts, added to the cross-entropy. Costs nothing to speak of. Not for several processes, each of which sees only its
share.

Letters: B texts in a micro-batch (a text that stands there twice counts as two), H hidden size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.model import Model
from ...model.packing import Output
from ...model.ranks import ranks
from ..batch import Batch, Texts
from .regularizer import Regularizer


class SupCon(Regularizer):
    name = "supcon"
    cost = "none"
    paper = "Gunel et al. 2021, arXiv:2011.01403"

    def __init__(self, temperature: float = 0.3, weight: float = 0.1) -> None:
        if temperature <= 0:
            raise ValueError(f"the temperature of supcon is {temperature}; it must be above 0")
        self.temperature = temperature
        if weight < 0:
            raise ValueError(f"the weight of supcon is {weight}; it cannot be below 0")
        self.weight = weight
        self.neutral = weight == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
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
