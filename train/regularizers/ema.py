"""EMA: evaluate with a moving average of the weights, which is calmer than they are.

    a ← d · a + (1 - d) · w,   d = min(decay, (1 + n) / (10 + n)) after n steps, so that it begins short; a₁ = w₁

Polyak & Juditsky 1992; as a moving average, Tarvainen & Valpola 2017 (arXiv:1703.01780), section 2. Costs memory for
one more copy of the weights, and no pass. Training itself is as without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...model.heads import BertClassifier
from ..batch import Texts
from .looking import looking_with
from .regularizer import Regularizer


class EMA(Regularizer):
    name = "ema"
    cost = "none"
    paper = "Tarvainen and Valpola 2017, arXiv:1703.01780"

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of ema is {decay}; it lies in [0, 1)")
        self.decay = decay
        self.neutral = decay == 0
        self.steps = 0
        self.average: list[Tensor] = []

    def begin(self, model: BertClassifier, train: Texts, dev: Texts) -> None:
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def after_step(self, model: BertClassifier, done: float) -> None:
        if not self.average:
            self.average = [parameter.detach().clone() for parameter in model.parameters()]
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, list(model.parameters()), 1 - decay)

    @contextmanager
    def evaluation(self, model: BertClassifier) -> Iterator[None]:
        with looking_with(self.average, model):
            yield

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": self.average}

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.average = [average.to(self.device) for average in state["average"]]
