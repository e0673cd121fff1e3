"""Distillation: learn also what a finished model says of each text.

    L = CE + weight · T² · KL(p_teacher ‖ p_student),   both of them softmax(logits / T)

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531), section 2, which takes a weighted
mean of the two losses. T² keeps the gradients as large as those of the labels. The teacher reads the unchanged texts
once, before training, with its own tokenizer and without dropout.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...eval.predict import Scorer, how_to_cut
from ...eval.tasks.classify import Classify
from ...weights.load import load_ready_classifier
from .regularizer import ABOVE_0, AT_LEAST_0, Batch, Model, Output, Regularizer, Texts, require_one_vector


class Distillation(Regularizer):
    name = "distillation"
    cost = "one reading by the teacher"
    paper = "Hinton et al. 2015, arXiv:1503.02531"
    ranges = {"temperature": ABOVE_0, "weight": AT_LEAST_0}
    neutral_at = {"weight": 0}

    def __init__(self, teacher: str = "", temperature: float = 2.0, weight: float = 1.0) -> None:
        self.teacher, self.temperature, self.weight = teacher, temperature, weight
        self.teaches = torch.empty(0)  # (n, C) its logits / T, from `begin` on
        self.apart: Callable[[Tensor, Tensor], Tensor] | None = None

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        if not self.teacher:
            raise ValueError("distillation needs a teacher: distillation:teacher=FOLDER of a fine-tuned model")
        require_one_vector(model, "distillation asks a teacher about whole texts")
        if train.sentences is None:
            raise ValueError("distillation needs the sentences of the training texts, for the teacher's own tokenizer")
        if train.parts > 1:
            raise ValueError("distillation is for texts that are read in one sequence")
        loaded = load_ready_classifier(self.teacher, head=type(model.classifier))
        if loaded.model.labels != model.labels:
            raise ValueError(
                f"the teacher {self.teacher} tells {', '.join(loaded.model.labels)} apart, and the model "
                f"{', '.join(model.labels)}: their labels must be the same, in the same order"
            )
        device = next(model.parameters()).device
        how, _ = how_to_cut(loaded.model, loaded.cut)
        teacher = Scorer(loaded.model.to(device), loaded.tokenizer, Classify(model.labels), how)
        logits = torch.from_numpy(teacher.logits(teacher.encode(train.sentences), progress="teacher"))
        self.teaches = (logits / self.temperature).to(device)
        self.apart = model.classifier.apart

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        assert output.logits is not None and self.apart
        learns = output.logits.float() / self.temperature  # (B, C)
        return self.weight * self.temperature**2 * self.apart(batch.spread(self.teaches[batch.rows]), learns)
