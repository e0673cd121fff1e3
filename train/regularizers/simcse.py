"""SimCSE: a text and its copy under other dropout lie close together, other texts far.

    weight · 1/B · Σ_i -log( exp(z_i · z'_i / τ) / Σ_j exp(z_i · z'_j / τ) )

Gao et al. 2021, "SimCSE: Simple Contrastive Learning of Sentence Embeddings" (arXiv:2104.08821), equation 4, in one
direction as there. z and z' are the pooled vectors of the two copies, divided by their lengths; the others are those of
the micro-batch. In the paper it is a training of its own, on unlabelled texts; here a penalty beside the task, which
learns from both copies. Each text stands in the batch twice, so it costs one forward and backward pass more, which it
shares with r-drop. Not for several processes, each of which sees only its share.

Letters: B texts in a micro-batch, H hidden size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.model import Model
from ...model.packing import Output
from ...model.ranks import ranks
from ..batch import Batch, Texts
from .regularizer import Regularizer


class SimCSE(Regularizer):
    name = "simcse"
    cost = "a pass"
    paper = "Gao et al. 2021, arXiv:2104.08821"

    def __init__(self, temperature: float = 0.05, weight: float = 0.1) -> None:
        if temperature <= 0:
            raise ValueError(f"the temperature of simcse is {temperature}; it must be above 0")
        self.temperature = temperature
        if weight < 0:
            raise ValueError(f"the weight of simcse is {weight}; it cannot be below 0")
        self.weight = weight
        self.neutral = weight == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if ranks() > 1:
            raise ValueError("simcse compares the texts of a micro-batch, which several processes share out: start one")

    def change_batch(self, batch: Batch) -> Batch:
        return batch.twice()

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.pooled is not None
        one, other = F.normalize(output.pooled.float(), dim=-1).chunk(2)  # (2B, H) -> 2 × (B, H)
        similar = one @ other.T / self.temperature  # (B, B)
        return self.weight * F.cross_entropy(similar, torch.arange(len(one), device=one.device))
