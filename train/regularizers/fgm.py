"""FGM: a second pass over embeddings moved a little in the direction that hurts most.

    L(x) + L(x + ε · g / ‖g‖),   g = ∇ₓ L(x)

Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification" (arXiv:1605.07725), section
3. x is what the embeddings hand to the encoder, and the norm is taken over each sequence. Costs one forward and
backward pass more. g is the gradient of all that was learned in the first pass, penalties included; the second
computes the task loss only, and the embeddings are as before when it is over.
"""

from collections.abc import Callable

from torch import Tensor

from ...model.model import Model
from ..batch import Batch, Texts
from .nudge import Nudge, unit
from .regularizer import Regularizer


class FGM(Regularizer):
    name = "fgm"
    cost = "a pass"
    paper = "Miyato et al. 2017, arXiv:1605.07725"
    refuses = ("freelb", "smart")  # one adversary of the embeddings at a time

    def __init__(self, epsilon: float = 1.0) -> None:
        if epsilon < 0:
            raise ValueError(f"the epsilon of fgm is {epsilon}; it cannot be below 0")
        self.epsilon = epsilon
        self.neutral = epsilon == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.nudge = Nudge(model.bert)

    def change_batch(self, batch: Batch) -> Batch:
        self.nudge.watch = True
        return batch

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        assert self.nudge.packed is not None
        self.nudge.step = self.epsilon * unit(self.nudge.gradient(), self.nudge.packed)
        try:
            task().backward()
        finally:
            self.nudge.step = None

    def finish(self, model: Model) -> None:
        self.nudge.remove()
