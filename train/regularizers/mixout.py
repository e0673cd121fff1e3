"""Mixout: dropout that puts the pretrained weight, not zero, in a weight's place.

    w ← (w · (1 - m) + w⁰ · m - p · w⁰) / (1 - p),   m ~ Bernoulli(p) for every neuron that the weights come from
      = w⁰ + dropout(w - w⁰)

Lee et al. 2020, "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models"
(arXiv:1909.11299), section 3. It acts in training on the matrices of the encoder's and the pooler's linear layers, as
in the authors' code. In the paper it replaces dropout; here the model keeps its own, unless that is set to 0.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...model.dropout import dropout
from .regularizer import FROM_0_BELOW_1, Model, Regularizer, Texts


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
    paper = "Lee et al. 2020, arXiv:1909.11299"
    ranges = {"p": FROM_0_BELOW_1}
    neutral_at = {"p": 0}
    refuses = ("fresh-top",)  # what is made anew was never pretrained

    def __init__(self, p: float = 0.7) -> None:
        self.p = p
        self.mixed: dict[nn.Linear, Mixed] = {}

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        parts = [*model.bert.layers.modules(), *(model.bert.pooler.modules() if model.bert.pooler else ())]
        self.mixed = {module: Mixed(module.weight, self.p) for module in parts if isinstance(module, nn.Linear)}
        for linear, mixed in self.mixed.items():
            parametrize.register_parametrization(linear, "weight", mixed)

    def finish(self, model: Model) -> None:
        for linear in self.mixed:
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
            linear.register_parameter("bias", linear._parameters.pop("bias"))  # after the weight again

    def state(self) -> dict[str, Any]:
        return {"start": [mixed.start for mixed in self.mixed.values()]}

    def load_state(self, state: dict[str, Any]) -> None:
        for mixed, kept in zip(self.mixed.values(), state["start"], strict=True):
            mixed.start.copy_(kept)
