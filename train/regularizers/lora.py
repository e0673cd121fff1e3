"""LoRA: the encoder stays as it is, but for a small correction to its queries and values.

    W ← W + (alpha / rank) · B A,   A (rank, H) random, B (H, rank) zero at first; W itself is not trained

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685), section 4. As in the paper the
corrected matrices are those of queries and values (its section 7.1), of every layer: rows 1 to H and 2H + 1 to 3H of
our one `qkv`. Pooler and classifier are trained whole, all else is frozen. At the end W takes the correction up, so
that the model is a plain one. It wants a larger rate than usual: the paper has about 5e-4 for RoBERTa-base. A is drawn
with the deviation of the model's other new weights, where the paper only says Gaussian. B A is formed at each pass,
which is cheap beside the pass; what is saved is the optimizer's memory, not time.

Letters: H hidden size.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...model.attention import Attention
from ...model.model import Model
from ..batch import Texts
from .regularizer import Regularizer


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
    cost = "none"
    paper = "Hu et al. 2021, arXiv:2106.09685"
    # The first two hold on to weights that are frozen here; the others thaw them, or would freeze random ones.
    refuses = ("mixout", "l2-sp", "gradual-unfreezing", "fresh-top")

    def __init__(self, rank: int = 8, alpha: float = 16.0) -> None:
        if rank < 0:
            raise ValueError(f"the rank of lora is {rank}; it cannot be below 0")
        if alpha <= 0:
            raise ValueError(f"the alpha of lora is {alpha}; it must be above 0")
        self.rank, self.alpha = rank, alpha
        self.neutral = rank == 0  # then it is ordinary fine-tuning

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
