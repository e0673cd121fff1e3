"""Mixout: dropout that puts the pretrained weight, not zero, in a weight's place.

    w ← (w · (1 - m) + w⁰ · m - p · w⁰) / (1 - p),   m ~ Bernoulli(p) for every neuron that the weights come from
      = w⁰ + dropout(w - w⁰)

Lee et al. 2020, "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models"
(arXiv:1909.11299), section 3. It acts in training on the matrices of the encoder's and the pooler's linear layers, not
on biases, as in the authors' code, and not on the classifier, which was never pretrained. The paper takes p from 0.7 to
0.9 for small data sets; the default is the mildest of these. (Zhang et al. 2021, arXiv:2006.05987, run it with 0.1.)
Both put mixout in the place of dropout; here the model keeps its own, unless you set `--hidden-dropout 0` and so on.
Costs memory for a copy of the encoder, no pass.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...model.dropout import dropout
from ...model.model import Model
from ..batch import Texts
from .regularizer import Regularizer


class Mixed(nn.Module):
    """A weight → what a training pass sees of it."""

    start: Tensor

    def __init__(self, start: Tensor, p: float) -> None:
        super().__init__()
        self.register_buffer("start", start.detach().clone(), persistent=False)
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight
        kept = dropout(weight.new_ones(weight.shape[1]), self.p)  # one for each neuron below, as in the authors' code
        return self.start + kept * (weight - self.start)


class Mixout(Regularizer):
    name = "mixout"
    cost = "none"
    paper = "Lee et al. 2020, arXiv:1909.11299"
    refuses = ("fresh-top",)  # what is made anew was never pretrained

    def __init__(self, p: float = 0.7) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"the p of mixout is {p}; it lies in [0, 1)")
        self.p = p
        self.neutral = p == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        parts = [*model.bert.layers.modules(), *(model.bert.pooler.modules() if model.bert.pooler else ())]
        self.linears = [module for module in parts if isinstance(module, nn.Linear)]
        self.mixed = [Mixed(linear.weight, self.p) for linear in self.linears]
        for linear, mixed in zip(self.linears, self.mixed, strict=True):
            parametrize.register_parametrization(linear, "weight", mixed)

    def finish(self, model: Model) -> None:
        for linear in self.linears:
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
            linear.register_parameter("bias", linear._parameters.pop("bias"))  # after the weight again

    def state(self) -> dict[str, Any]:
        return {"start": [mixed.start for mixed in self.mixed]}

    def load_state(self, state: dict[str, Any]) -> None:
        for mixed, kept in zip(self.mixed, state["start"], strict=True):
            mixed.start.copy_(kept)
