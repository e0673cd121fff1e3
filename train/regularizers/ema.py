"""EMA: evaluate with a moving average of the weights, which is calmer than they are.

    a ← d · a + (1 - d) · w,   d = min(decay, (1 + n) / (10 + n)) after n steps, so that it begins short; a₁ = w₁

Polyak & Juditsky 1992; as a moving average, Tarvainen & Valpola 2017 (arXiv:1703.01780), section 2. Costs memory for
one more copy of the weights. Training itself is as without it.
"""

from .averaged import Averaged
from .regularizer import FROM_0_BELOW_1, Model


class EMA(Averaged):
    name = "ema"
    paper = "Tarvainen and Valpola 2017, arXiv:1703.01780"
    ranges = {"decay": FROM_0_BELOW_1}
    neutral_at = {"decay": 0}
    replayable = True

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay

    def after_step(self, model: Model, done: float) -> None:
        self.steps += 1
        self.take_in(model, 1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))
