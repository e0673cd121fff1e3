"""Judges' votes: learn how many judges chose each class, not only which class won.

    t ← (1 - weight) · t + weight · v / Σ_c v_c

Peterson et al. 2019, "Human Uncertainty Makes Classification More Robust" (arXiv:1908.07086); survey: Uma et al. 2021
(JAIR 72), "Learning from Disagreement". v are the votes (C,) of a text; one without votes keeps its target t.
"""

from dataclasses import replace

import torch

from .regularizer import FROM_0_TO_1, Batch, Model, Regularizer, Texts


class JudgeVotes(Regularizer):
    name = "judge-votes"
    paper = "Peterson et al. 2019, arXiv:1908.07086"
    ranges = {"weight": FROM_0_TO_1}
    neutral_at = {"weight": 0}
    only_classes = True
    replayable = True

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.shares = self.weights = torch.empty(0)  # (n, C) and (n, 1) from `begin` on

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if train.votes is None:
            raise ValueError("judge-votes needs the votes of judges, which these texts have not; jrte and sample have")
        votes = torch.from_numpy(train.votes).float().to(next(model.parameters()).device)  # (n, C)
        total = votes.sum(dim=1, keepdim=True)
        self.shares = votes / total.clamp(min=1)
        self.weights = self.weight * (total > 0)  # 0 for a text without votes

    def change_batch(self, batch: Batch) -> Batch:
        shares, weight = batch.spread(self.shares[batch.rows]), batch.spread(self.weights[batch.rows])
        return replace(batch, targets=(1 - weight) * batch.targets + weight * shares)
