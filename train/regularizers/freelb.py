"""FreeLB: learn from several passes while the embeddings climb towards a higher loss.

    1/K · Σ_{t=0}^{K-1} L(x + δ_t),   δ_{t+1} = Π(δ_t + α · g / ‖g‖),   g = ∇_δ L(x + δ_t)

Zhu et al. 2020, "FreeLB: Enhanced Adversarial Training for Natural Language Understanding" (arXiv:1909.11764),
algorithm 1, K = steps: δ₀ is uniform in ± ε / √(numbers in the sequence), and Π shortens δ to ε; all norms are over a
sequence. x is what the embeddings hand to the encoder, in the paper the word vectors alone, with one dropout mask for
the K passes. Penalties of others belong to the first pass.

Letters: B sequences, T tokens in the packed batch, H hidden size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...model.packing import Packed
from .perturbation import lengths, unit
from .regularizer import AT_LEAST_0, AT_LEAST_1, Batch, Model, Regularizer, Texts


class FreeLB(Regularizer):
    name = "freelb"
    cost = "steps - 1 passes"
    paper = "Zhu et al. 2020, arXiv:1909.11764"
    ranges = {"steps": AT_LEAST_1, "epsilon": AT_LEAST_0, "alpha": AT_LEAST_0}
    neutral_at = {"epsilon": 0}  # nothing moves
    refuses = ("fgm", "smart")  # one adversary of the embeddings at a time

    def __init__(self, steps: int = 3, epsilon: float = 1.0, alpha: float = 0.5) -> None:
        self.steps, self.epsilon, self.alpha = steps, epsilon, alpha
        self.first_share = 1 / max(steps, 1)
        self.asked = False  # whether the next pass is to be moved
        self.moved: tuple[Tensor, Packed] | None = None  # δ (T, H) of the last pass, and its batch

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.asked, self.moved = False, None
        self.hooks = [model.bert.embeddings.register_forward_hook(self.move)]

    def change_batch(self, batch: Batch) -> Batch:
        self.asked, self.moved = True, None
        return batch

    def move(self, embeddings: nn.Module, inputs: tuple[Packed], x: Tensor) -> Tensor | None:
        """x (T, H) → x + δ"""
        if not (self.asked and embeddings.training):
            return None
        self.asked = False
        delta, packed = self.moved or (self.first(x, inputs[0]), inputs[0])
        delta = delta.detach().requires_grad_()
        self.moved = delta, packed
        return x + delta.to(x.dtype)

    def first(self, x: Tensor, packed: Packed) -> Tensor:
        """δ₀ (T, H)"""
        tokens = packed.boundaries.diff()  # (B,)
        numbers = x.shape[1] * torch.repeat_interleave(tokens, tokens.long(), output_size=len(x))  # (T,)
        return self.epsilon * torch.empty_like(x, dtype=torch.float32).uniform_(-1, 1) / numbers.sqrt()[:, None]

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        try:
            for _ in range(self.steps - 1):
                assert self.moved
                delta, packed = self.moved
                assert delta.grad is not None
                delta = delta.detach() + self.alpha * unit(delta.grad, packed)
                delta = delta * (self.epsilon / lengths(delta, packed).clamp(min=1e-12)).clamp(max=1)
                self.asked, self.moved = True, (delta, packed)
                (task() / self.steps).backward()
        finally:
            self.asked = False
