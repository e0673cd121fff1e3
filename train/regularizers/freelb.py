"""FreeLB: learn from several passes while the embeddings climb towards a higher loss.

    1/K · Σ_{t=0}^{K-1} L(x + δ_t),   δ_{t+1} = Π(δ_t + α · g / ‖g‖),   g = ∇_δ L(x + δ_t)

Zhu et al. 2020, "FreeLB: Enhanced Adversarial Training for Natural Language Understanding" (arXiv:1909.11764),
algorithm 1, K = steps: δ₀ is uniform in ± ε / √(numbers in the sequence), and Π shortens δ to ε where it is longer; all
norms are over a sequence. Costs K - 1 forward and backward passes more. x is what the embeddings hand to the encoder,
where the paper has the word vectors before positions and normalisation, so that its sizes of ε and α do not carry over.
The paper keeps the dropout mask over the K passes; here each draws anew. Penalties of others belong to the first pass
alone, whose g they are part of.

Letters: B sequences, T tokens in the packed batch, H hidden size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...model.model import Model
from ...model.packing import Packed
from ..batch import Batch, Texts
from .nudge import lengths, unit
from .regularizer import Regularizer


class FreeLB(Regularizer):
    name = "freelb"
    cost = "steps - 1 passes"
    paper = "Zhu et al. 2020, arXiv:1909.11764"
    refuses = ("fgm", "smart")  # one adversary of the embeddings at a time

    def __init__(self, steps: int = 3, epsilon: float = 1.0, alpha: float = 0.5) -> None:
        if steps < 1:
            raise ValueError(f"the steps of freelb are {steps}; there must be at least 1")
        if epsilon < 0:
            raise ValueError(f"the epsilon of freelb is {epsilon}; it cannot be below 0")
        if alpha < 0:
            raise ValueError(f"the alpha of freelb is {alpha}; it cannot be below 0")
        self.steps = steps
        self.epsilon = epsilon
        self.alpha = alpha
        self.first_share = 1 / steps
        self.neutral = epsilon == 0  # nothing moves

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        self.asked = False  # whether the next pass is to be moved
        self.hook = model.bert.embeddings.register_forward_hook(self.move)

    def change_batch(self, batch: Batch) -> Batch:
        self.asked = True
        self.delta: Tensor | None = None
        return batch

    def move(self, embeddings: nn.Module, inputs: tuple[Packed], x: Tensor) -> Tensor | None:
        """x (T, H) → x + δ"""
        if not (self.asked and embeddings.training):
            return None
        self.asked = False
        if self.delta is None:
            self.packed = inputs[0]
            tokens = self.packed.boundaries.diff()  # (B,)
            numbers = x.shape[1] * torch.repeat_interleave(tokens, tokens.long(), output_size=len(x))  # (T,)
            noise = torch.empty_like(x, dtype=torch.float32).uniform_(-1, 1)
            self.delta = self.epsilon * noise / numbers.sqrt()[:, None]
        self.delta = self.delta.detach().requires_grad_()
        return x + self.delta.to(x.dtype)

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        try:
            for _ in range(self.steps - 1):
                assert self.delta is not None and self.delta.grad is not None
                delta = self.delta.detach() + self.alpha * unit(self.delta.grad, self.packed)
                self.delta = delta * (self.epsilon / lengths(delta, self.packed).clamp(min=1e-12)).clamp(max=1)
                self.asked = True
                (task() / self.steps).backward()
        finally:
            self.asked = False

    def finish(self, model: Model) -> None:
        self.hook.remove()
