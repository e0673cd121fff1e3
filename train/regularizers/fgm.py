"""FGM: a second pass over embeddings moved a little in the direction that hurts most.

    L(x) + L(x + ε · g / ‖g‖),   g = ∇ₓ L(x)

Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification" (arXiv:1605.07725), section
3. x is what the embeddings hand to the encoder, and the norm is taken over each sequence. g is the gradient of all that
was learned in the first pass, penalties included; the second computes the task loss only.
"""

from collections.abc import Callable

from torch import Tensor

from .perturbation import Perturbation, unit
from .regularizer import AT_LEAST_0, Batch, Model, Regularizer, Texts


class FGM(Regularizer):
    name = "fgm"
    cost = "a pass"
    paper = "Miyato et al. 2017, arXiv:1605.07725"
    ranges = {"epsilon": AT_LEAST_0}
    neutral_at = {"epsilon": 0}
    refuses = ("freelb", "smart")  # one adversary of the embeddings at a time

    def __init__(self, epsilon: float = 1.0) -> None:
        self.epsilon = epsilon
        self.perturbation = Perturbation()

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.hooks = [self.perturbation.begin(model.bert)]

    def change_batch(self, batch: Batch) -> Batch:
        self.perturbation.watch = True
        return batch

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        self.perturbation.step = self.epsilon * unit(*self.perturbation.gradient())
        try:
            task().backward()
        finally:
            self.perturbation.step = None
