"""What the averaging methods share: a model that is evaluated with an average of its weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .regularizer import Model, Regularizer, Texts


class Averaged(Regularizer):
    """Keeps `average`, a tensor for each parameter, in their order; none before there is anything to average."""

    def __init__(self) -> None:
        self.steps = 0  # averaged so far
        self.average: list[Tensor] = []
        self.device = torch.device("cpu")

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.steps, self.average, self.device = 0, [], next(model.parameters()).device

    @torch.no_grad()
    def take_in(self, model: Model, share: float) -> None:
        """a ← a + share · (w - a); the first time a = w."""
        if not self.average:
            self.average = [parameter.detach().clone() for parameter in model.parameters()]
        else:
            torch._foreach_lerp_(self.average, list(model.parameters()), share)

    @contextmanager
    def evaluation(self, model: Model) -> Iterator[None]:
        own = [parameter.data for parameter in model.parameters()]
        for parameter, data in zip(model.parameters(), self.average or own, strict=True):
            parameter.data = data
        try:
            yield
        finally:
            for parameter, data in zip(model.parameters(), own, strict=True):
                parameter.data = data

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": self.average}

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.average = [average.to(self.device) for average in state["average"]]
