"""Multi-sample dropout: the classifier sees each text under several dropout masks at once.

    L = 1/k · Σ_j CE(classifier(dropout_j(h)), t)

Inoue 2019, "Multi-Sample Dropout for Accelerated Training and Better Generalization" (arXiv:1905.09788). h is the
pooled vector; only the dropout before the classifier is drawn k times.

Letters: B texts in a micro-batch, H hidden size, C classes, k samples. Logits and targets become (k·B, C), a text's
rows one after the other; texts, rows and classes stay B.
"""

from dataclasses import replace

from torch import Tensor, nn

from .regularizer import AT_LEAST_1, Batch, Model, Regularizer, Texts, require_one_vector


class MultiSampleDropout(Regularizer):
    name = "multi-sample-dropout"
    paper = "Inoue 2019, arXiv:1905.09788"
    ranges = {"samples": AT_LEAST_1}
    neutral_at = {"samples": 1}

    def __init__(self, samples: int = 4) -> None:
        self.samples = samples

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        require_one_vector(model, "multi-sample-dropout repeats one vector of each text")
        if train.parts > 1:
            raise ValueError("multi-sample-dropout repeats one vector of each text, and these texts have several")
        self.hooks = [model.dropout.register_forward_pre_hook(self.repeat)]

    def change_batch(self, batch: Batch) -> Batch:
        return replace(batch, targets=batch.targets.repeat_interleave(self.samples, dim=0))

    def repeat(self, dropout: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        """(B, H) → (k·B, H)"""
        return inputs[0].repeat_interleave(self.samples, dim=0) if dropout.training else None
