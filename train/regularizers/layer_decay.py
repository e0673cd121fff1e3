"""Layer decay: lower layers, which hold what is general, learn more slowly.

    lr of a layer = lr · decay^d,   d = 0 in classifier and pooler, 1 in the top layer, …, L + 1 in the embeddings

Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification" (arXiv:1801.06146), section 3.2;
for BERT, with 0.95, Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning" (arXiv:2006.05987), section 7.
"""

from .regularizer import Model, Range, Regularizer, Texts


class LayerDecay(Regularizer):
    name = "layer-decay"
    paper = "Howard and Ruder 2018, arXiv:1801.06146"
    ranges = {"decay": Range(lambda decay: 0 < decay <= 1, "it lies in (0, 1]")}
    neutral_at = {"decay": 1}
    replayable = True

    def __init__(self, decay: float = 0.95) -> None:
        self.decay = decay
        self.model: Model | None = None
        self.depth: dict[str, int] = {}

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.model, self.depth = model, {}

    def rate(self, name: str) -> float:
        assert self.model
        self.depth = self.depth or self.model.depths()  # now that all others have begun, by the names they gave
        return self.decay ** self.depth[name]
