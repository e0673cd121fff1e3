"""EMA: evaluate with a moving average of the weights, which lies calmer than the weights themselves.

    a ← d · a + (1 - d) · w,   d = min(decay, (1 + n) / (10 + n)) after n steps, so that it begins short

Polyak & Juditsky 1992; as a moving average, Tarvainen & Valpola 2017 (arXiv:1703.01780), section 2. Costs memory for
one more copy of the weights, and no pass. Training itself is as without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...model.heads import BertClassifier
from .regularizer import Regularizer


class EMA(Regularizer):
    name = "ema"

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.neutral = decay == 0
        self.steps = 0
        self.average: list[Tensor] = []

    def change_model(self, model: BertClassifier) -> None:
        self.average = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def after_step(self, model: BertClassifier) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, list(model.parameters()), 1 - decay)

    @contextmanager
    def evaluation(self, model: BertClassifier) -> Iterator[None]:
        own = [parameter.data for parameter in model.parameters()]
        for parameter, average in zip(model.parameters(), self.average, strict=True):
            parameter.data = average
        try:
            yield
        finally:
            for parameter, data in zip(model.parameters(), own, strict=True):
                parameter.data = data

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": self.average}

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for average, kept in zip(self.average, state["average"], strict=True):
            average.copy_(kept)
