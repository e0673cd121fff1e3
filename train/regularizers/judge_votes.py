"""Judges' votes: learn how many judges chose each class, not only which class won.

    t ← (1 - weight) · t + weight · v / Σ_c v_c

Peterson et al. 2019, "Human Uncertainty Makes Classification More Robust" (arXiv:1908.07086), and others in
the survey of Uma et al. 2021 (JAIR 72), "Learning from Disagreement". v are the votes (C,) of a text; one without votes
keeps its target t. At weight 1, as in the papers, votes take the place of the label. Costs nothing. Label smoothing
given before it smooths what it then replaces: give it after it.
"""

from dataclasses import replace

import torch

from ...model.model import Model
from ..batch import Batch, Texts
from .regularizer import Regularizer


class JudgeVotes(Regularizer):
    name = "judge-votes"
    cost = "none"
    paper = "Peterson et al. 2019, arXiv:1908.07086"

    def __init__(self, weight: float = 1.0) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"the weight of judge-votes is {weight}; it lies in [0, 1]")
        self.weight = weight
        self.neutral = weight == 0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if train.votes is None:
            raise ValueError("judge-votes needs the votes of judges, which these texts have not; jrte and sample have")
        votes = torch.from_numpy(train.votes).float().to(next(model.parameters()).device)  # (n, C)
        total = votes.sum(dim=1, keepdim=True)
        self.shares = votes / total.clamp(min=1)  # (n, C)
        self.weights = self.weight * (total > 0)  # (n, 1), 0 for a text without votes

    def change_batch(self, batch: Batch) -> Batch:
        shares, weight = batch.spread(self.shares[batch.rows]), batch.spread(self.weights[batch.rows])
        return replace(batch, targets=(1 - weight) * batch.targets + weight * shares)
