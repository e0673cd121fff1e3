"""LayerDrop: in training, whole layers are left out at random.

    x ← x with probability p, else layer(x)

Fan et al. 2020, "Reducing Transformer Depth on Demand with Structured Dropout" (arXiv:1909.11556), section 3. A layer
that is left out is not computed. The draw is made once for a micro-batch, its second passes included.
"""

from functools import partial

import torch
from torch import Tensor, nn

from ...model.packing import Packed
from .regularizer import FROM_0_BELOW_1, Batch, Model, Regularizer, Texts


class LayerDrop(Regularizer):
    name = "layer-drop"
    paper = "Fan et al. 2020, arXiv:1909.11556"
    ranges = {"p": FROM_0_BELOW_1}
    neutral_at = {"p": 0}

    def __init__(self, p: float = 0.1) -> None:
        self.p = p
        self.left_out: list[bool] = []  # of each layer, for this micro-batch

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.left_out = [False] * len(model.bert.layers)
        for number, layer in enumerate(model.bert.layers):
            layer.forward = partial(self.forward, number, layer)

    def change_batch(self, batch: Batch) -> Batch:
        self.left_out = (torch.rand(len(self.left_out)) < self.p).tolist()
        return batch

    def forward(
        self, number: int, layer: nn.Module, x: Tensor, packed: Packed, show: bool = False, first_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        if layer.training and self.left_out[number]:
            return x[packed.first] if first_only else x, None
        return type(layer).forward(layer, x, packed, show, first_only)

    def finish(self, model: Model) -> None:
        for layer in model.bert.layers:
            del layer.forward  # what stood before that of its class
