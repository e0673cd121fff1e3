"""SimCSE: a text and its copy under other dropout lie close together, other texts far.

    weight · 1/B · Σ_i -log( exp(z_i · z'_i / τ) / Σ_j exp(z_i · z'_j / τ) )

Gao et al. 2021, "SimCSE: Simple Contrastive Learning of Sentence Embeddings" (arXiv:2104.08821), equation 4; in the
paper a training of its own. z and z' are the pooled vectors of the two copies, divided by their lengths; the others are
those of the micro-batch, in which each text stands twice.

Letters: B texts in a micro-batch, H hidden size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.ranks import ranks
from .regularizer import ABOVE_0, AT_LEAST_0, Batch, Model, Output, Regularizer, Texts, require_pooled


class SimCSE(Regularizer):
    name = "simcse"
    cost = "a pass"
    paper = "Gao et al. 2021, arXiv:2104.08821"
    ranges = {"temperature": ABOVE_0, "weight": AT_LEAST_0}
    neutral_at = {"weight": 0}

    def __init__(self, temperature: float = 0.05, weight: float = 0.1) -> None:
        self.temperature, self.weight = temperature, weight

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        require_pooled(model, self.name)
        if ranks() > 1:
            raise ValueError("simcse compares the texts of a micro-batch, which several processes share out: start one")

    def change_batch(self, batch: Batch) -> Batch:
        return batch.twice()

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.pooled is not None
        one, other = F.normalize(output.pooled.float(), dim=-1).chunk(2)  # (2B, H) -> 2 × (B, H)
        similar = one @ other.T / self.temperature  # (B, B)
        return self.weight * F.cross_entropy(similar, torch.arange(len(one), device=one.device))
