"""A regularizer of one's own: negated texts count twice as much as others in the loss.

tezukuri finetune --data jrte --regularizer benchmarks/negation_twice.py:NegationTwice
"""

from dataclasses import replace

import numpy as np
import torch

from tezukuri.eval.failures.slices import RULES, Text, tag
from tezukuri.model.model import Model
from tezukuri.tokenize.morphemes import morphemes, normal
from tezukuri.train.batch import Batch, Texts
from tezukuri.train.regularizers.regularizer import Regularizer

NEGATION = next(rule for rule in RULES if rule.name == "negation")


class NegationTwice(Regularizer):
    def __init__(self, times: float = 2.0) -> None:
        self.times = times

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if train.sentences is None:
            raise ValueError("NegationTwice looks at the words, and these texts are token ids only")
        read = [Text(normal(text), morphemes(text), length=0, unknown=0) for text in train.sentences]
        device = next(model.parameters()).device
        weights = np.where(tag(read, [NEGATION])[NEGATION.name], self.times, 1.0)
        self.weights = torch.tensor(weights / weights.mean(), dtype=torch.float32, device=device)

    def change_batch(self, batch: Batch) -> Batch:
        return replace(batch, targets=batch.targets * batch.spread(self.weights[batch.rows])[:, None])
