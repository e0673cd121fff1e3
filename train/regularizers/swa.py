"""SWA: evaluate with the plain mean of the weights of all later steps.

    a ← a + (w - a) / n   after each step once the share `start` of them is done, n = 1, 2, …

Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv:1803.05407), section 3,
which takes one state an epoch, of a rate that stays high or goes in cycles; here the rate falls to zero. Costs memory
for one more copy of the weights. Training itself is as without it.
"""

from .averaged import Averaged
from .regularizer import FROM_0_TO_1, Model


class SWA(Averaged):
    name = "swa"
    paper = "Izmailov et al. 2018, arXiv:1803.05407"
    ranges = {"start": FROM_0_TO_1}
    neutral_at = {"start": 1}
    refuses = ("ema",)  # one average to evaluate with
    replayable = True

    def __init__(self, start: float = 0.5) -> None:
        super().__init__()
        self.start = start

    def after_step(self, model: Model, done: float) -> None:
        if done > self.start:
            self.steps += 1
            self.take_in(model, 1 / self.steps)
