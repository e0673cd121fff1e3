"""Fresh top: the pooler and the top layers begin with new random weights.

    w ~ N(0, initializer_range²), biases 0, normalisations the identity: as before pretraining

Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning" (arXiv:2006.05987), section 5: the top layers are
specialised in pretraining's own task, and are a bad place to start from. The paper tries 1 to 6 of 24 layers.
"""

from ...model.initialisation import initialise
from .regularizer import AT_LEAST_0, Model, Regularizer, Texts


class FreshTop(Regularizer):
    name = "fresh-top"
    paper = "Zhang et al. 2021, arXiv:2006.05987"
    ranges = {"layers": AT_LEAST_0}
    neutral_at = {"layers": 0}

    def __init__(self, layers: int = 1) -> None:
        self.layers = layers

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        have = len(model.bert.layers)
        if self.layers > have:
            raise ValueError(f"the layers of fresh-top are {self.layers}, but the model has {have}")
        for part in (*model.bert.layers[have - self.layers :], *([model.bert.pooler] if model.bert.pooler else ())):
            part.apply(lambda module: initialise(module, model.config.initializer_range))
