"""FGM: a second pass over embeddings moved a little in the direction that hurts most.

    L(x) + L(x + ε · g / ‖g‖),   g = ∇ₓ L(x)

Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification" (arXiv:1605.07725), section
3. x is what the embeddings hand to the encoder, and the norm is taken over each sequence. Costs one forward and
backward pass more. g is the gradient of all that was learned in the first pass, penalties included; the second
computes the task loss only, and the embeddings are as before when it is over.

Letters: B sequences, T tokens in the packed batch, H hidden size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...model.heads import BertClassifier
from ...model.packing import Packed
from .regularizer import Regularizer


class FGM(Regularizer):
    name = "fgm"

    def __init__(self, epsilon: float = 1.0) -> None:
        self.epsilon = epsilon
        self.neutral = epsilon == 0
        self.x: Tensor | None = None  # (T, H) of the first pass
        self.step: Tensor | None = None  # (T, H), while the second pass runs

    def change_model(self, model: BertClassifier) -> None:
        self.hook = model.bert.embeddings.register_forward_hook(self.watch)

    def finish(self, model: BertClassifier) -> None:
        self.hook.remove()

    def watch(self, embeddings: nn.Module, inputs: tuple[Packed], x: Tensor) -> Tensor | None:
        if not embeddings.training:
            return None
        if self.step is not None:
            return x + self.step
        if not x.requires_grad:  # frozen embeddings
            x = x.detach().requires_grad_()
        x.retain_grad()
        self.x, self.packed = x, inputs[0]
        return x

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        assert self.x is not None and self.x.grad is not None
        self.step = self.epsilon * unit(self.x.grad, self.packed)
        self.x = None
        try:
            task().backward()
        finally:
            self.step = None


def unit(x: Tensor, packed: Packed) -> Tensor:
    """(T, H), every sequence of it divided by its own length over all tokens; zero stays zero."""
    sequence = torch.repeat_interleave(packed.boundaries.diff().long(), output_size=len(x))  # (T,) 0 0 0 1 2 2
    squares = torch.zeros(len(packed), device=x.device).index_add(0, sequence, x.float().pow(2).sum(dim=1))  # (B,)
    return x / squares.sqrt().clamp(min=1e-12)[sequence, None].to(x.dtype)
