"""SWA: evaluate with the plain mean of the weights of all later steps.

    a ← a + (w - a) / n   after each step once the share `start` of them is done, n = 1, 2, …

Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv:1803.05407), section 3.
The paper takes one state an epoch, of a rate that stays high or goes in cycles; here it is every step, since
fine-tuning has few epochs, and the rate goes on falling to zero, so that the states lie nearer together and the mean
brings less than there. Before `start` the weights themselves are looked at, and kept if they are the best. Costs memory
for one more copy of the weights, and no pass. Training itself is as without it.
"""

from ...model.model import Model
from .looking import Averaged


class SWA(Averaged):
    name = "swa"
    cost = "none"
    paper = "Izmailov et al. 2018, arXiv:1803.05407"
    refuses = ("ema",)  # one average to look with

    def __init__(self, start: float = 0.5) -> None:
        super().__init__()
        if not 0 <= start <= 1:
            raise ValueError(f"the start of swa is {start}; it lies in [0, 1]")
        self.start = start
        self.neutral = start == 1

    def after_step(self, model: Model, done: float) -> None:
        if done > self.start:
            self.steps += 1
            self.take_in(model, 1 / self.steps)
