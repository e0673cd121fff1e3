"""Layer decay: lower layers, which hold what is general, learn more slowly.

    lr of a layer = lr · decay^d,   d = 0 in classifier and pooler, 1 in the top layer, …, L + 1 in the embeddings

Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification" (arXiv:1801.06146), section 3.2,
"discriminative fine-tuning", with a decay of 1 / 2.6 for three layers; for BERT, Zhang et al. 2021, "Revisiting
Few-sample BERT Fine-tuning" (arXiv:2006.05987), section 7, whose 0.95 is the default: of 12 layers, the lowest has 0.54
of the rate. Costs nothing.
"""

from ...model.model import Model
from ..batch import Texts
from .regularizer import Regularizer


class LayerDecay(Regularizer):
    name = "layer-decay"
    cost = "none"
    paper = "Howard and Ruder 2018, arXiv:1801.06146"

    def __init__(self, decay: float = 0.95) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"the decay of layer-decay is {decay}; it lies in (0, 1]")
        self.decay = decay
        self.neutral = decay == 1
        self.depth: dict[str, int] = {}

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.model = model

    def rate(self, name: str) -> float:
        self.depth = self.depth or self.model.depths()  # now that all others have begun, by the names they gave
        return self.decay ** self.depth[name]
