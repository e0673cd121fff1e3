"""Gradual unfreezing: the head learns first, then one more layer at a time, from the top.

    of L layers, ⌊(L + 1) · done / until⌋ are thawed, from the top; the embeddings come last, when done = until

Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification" (arXiv:1801.06146), section 3.3,
where a layer is thawed each epoch. The head is classifier and pooler; `done` is the share of the steps made so far.
"""

from typing import Any

from torch import nn

from .regularizer import FROM_0_TO_1, Model, Regularizer, Texts


class GradualUnfreezing(Regularizer):
    name = "gradual-unfreezing"
    paper = "Howard and Ruder 2018, arXiv:1801.06146"
    ranges = {"until": FROM_0_TO_1}
    neutral_at = {"until": 0}

    def __init__(self, until: float = 0.3) -> None:
        self.until = until
        self.frozen: list[tuple[int, nn.Parameter]] = []  # those that will be thawed, and how deep they lie
        self.stages = self.stage = 0  # L + 1, and how deep it is thawed

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        depth = model.depths()
        if 0 not in depth.values():
            raise ValueError(f"{self.name} begins with a head alone, and this model's has nothing to learn")
        self.stages = len(model.bert.layers) + 1
        self.frozen = [(depth[name], p) for name, p in model.named_parameters() if depth[name] and p.requires_grad]
        self.thaw(0)

    def thaw(self, stage: int) -> None:
        """Let learn what lies no deeper than `stage`."""
        self.stage = stage
        for d, parameter in self.frozen:
            parameter.requires_grad_(d <= stage)

    def after_step(self, model: Model, done: float) -> None:
        stage = min(self.stages, int(self.stages * (done / self.until)))
        if stage != self.stage:
            self.thaw(stage)

    def finish(self, model: Model) -> None:
        self.thaw(self.stages)

    def state(self) -> dict[str, Any]:
        return {"stage": self.stage}

    def load_state(self, state: dict[str, Any]) -> None:
        self.thaw(state["stage"])
