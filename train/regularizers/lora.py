"""LoRA: the encoder stays as it is, but for a small correction to its queries and values.

    W ← W + (alpha / rank) · B A,   A (rank, H) random, B (H, rank) zero at first; W itself is not trained

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685), sections 4 and 7.1: rows 1 to H
and 2H + 1 to 3H of our one `qkv` are corrected. Pooler and classifier are trained whole, all else is frozen. At the end
W takes the correction up, so that the model is a plain one. It wants a larger rate, in the paper about 5e-4.

Letters: H hidden size.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...model.attention import Attention
from .regularizer import ABOVE_0, AT_LEAST_0, Model, Regularizer, Texts


class LowRank(nn.Module):
    """The (3H, H) matrix of queries, keys and values → itself, corrected."""

    def __init__(self, weight: Tensor, rank: int, scale: float, std: float) -> None:
        super().__init__()
        hidden = weight.shape[1]
        self.a = nn.Parameter(weight.new_empty(2, rank, hidden).normal_(std=std))
        self.b = nn.Parameter(weight.new_zeros(2, hidden, rank))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        q, v = self.scale * (self.b @ self.a)  # (2, H, rank) × (2, rank, H) -> 2 × (H, H)
        return weight + torch.cat([q, torch.zeros_like(q), v])


class LoRA(Regularizer):
    name = "lora"
    paper = "Hu et al. 2021, arXiv:2106.09685"
    ranges = {"rank": AT_LEAST_0, "alpha": ABOVE_0}
    neutral_at = {"rank": 0}  # then it is ordinary fine-tuning
    # The first two hold on to weights that are frozen here; the others thaw them, or would freeze random ones.
    refuses = ("mixout", "l2-sp", "gradual-unfreezing", "fresh-top")

    def __init__(self, rank: int = 8, alpha: float = 16.0) -> None:
        self.rank, self.alpha = rank, alpha
        self.frozen: list[nn.Parameter] = []
        self.linears: list[nn.Linear] = []  # those that are corrected

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        parts = (model.bert.embeddings, model.bert.layers)
        self.frozen = [p for part in parts for p in part.parameters() if p.requires_grad]
        for parameter in self.frozen:
            parameter.requires_grad_(False)
        self.linears = [module.qkv for module in model.bert.modules() if isinstance(module, Attention)]
        for linear in self.linears:
            low = LowRank(linear.weight, self.rank, self.alpha / self.rank, model.config.initializer_range)
            parametrize.register_parametrization(linear, "weight", low)

    def finish(self, model: Model) -> None:
        for linear in self.linears:
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)
            linear.register_parameter("bias", linear._parameters.pop("bias"))  # after the weight again
        for parameter in self.frozen:
            parameter.requires_grad_()
