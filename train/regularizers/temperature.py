"""Temperature: after training, one number makes the model as sure as it is right.

    logits ← logits / T,   T = argmin of the cross-entropy on the dev split, in [1/10, 10]

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599), section 4.2. The classifier's weight and
bias are divided by T, so that the saved model is a plain one, better calibrated and never more accurate. The bounds are
ours. A run that broke off is left as it is.

Letters: n texts of the dev split, C classes.
"""

import math
import sys

import torch
from torch import Tensor

from ...eval.predict import predict
from .regularizer import Model, Regularizer, Texts


class Temperature(Regularizer):
    name = "temperature"
    paper = "Guo et al. 2017, arXiv:1706.04599"
    only_classes = True

    def __init__(self) -> None:
        self.dev: Texts | None = None
        self.handled: BaseException | None = None  # where the whole run is part of handling an error

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.dev, self.handled = dev, sys.exc_info()[1]

    @torch.no_grad()
    def finish(self, model: Model) -> None:
        if self.dev is None or sys.exc_info()[1] not in (None, self.handled):  # the run is breaking off
            return
        logits = predict(model, self.dev.encodings, parts=self.dev.parts)
        found = best_temperature(logits, torch.from_numpy(self.dev.gold))
        for parameter in model.classifier.parameters():
            parameter.div_(found)


def best_temperature(logits: Tensor, gold: Tensor) -> float:
    """(n, C) logits and (n,) class numbers → T.

    In 1 / T the cross-entropy is convex, with the slope mean(Σ_c p_c z_c - z_gold): halve the interval at its sign.
    """
    logits = logits.double()
    wanted = logits.gather(1, gold[:, None]).mean()
    low, high = math.log(0.1), math.log(10)
    for _ in range(50):
        middle = (low + high) / 2
        p = (logits / math.exp(middle)).softmax(dim=-1)
        if (p * logits).sum(dim=-1).mean() > wanted:  # too sure
            low = middle
        else:
            high = middle
    return math.exp(middle)
