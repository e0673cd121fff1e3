"""What the adversarial methods share: embeddings that are watched, and moved.

Letters: B sequences, T tokens in the packed batch, H hidden size.
"""

import torch
from torch import Tensor, nn

from ...model.bert import Bert
from ...model.packing import Packed


class Nudge:
    """A hook on the embeddings: it can keep what they hand to the encoder, and add `step` to it.

    It acts in training only. `watch` asks for the x (T, H) of the next pass, whose gradient is then in `x.grad`.
    """

    def __init__(self, bert: Bert) -> None:
        self.watch = False
        self.x: Tensor | None = None  # (T, H) of the pass that was watched
        self.packed: Packed | None = None  # its batch
        self.step: Tensor | None = None  # (T, H)
        self.hook = bert.embeddings.register_forward_hook(self)

    def __call__(self, embeddings: nn.Module, inputs: tuple[Packed], x: Tensor) -> Tensor | None:
        if not embeddings.training:
            return None
        if self.step is not None:
            x = x + self.step.to(x.dtype)
        if self.watch:
            self.watch = False
            if not x.requires_grad:  # frozen embeddings
                x = x.detach().requires_grad_()
            x.retain_grad()
            self.x, self.packed = x, inputs[0]
        return x

    def gradient(self) -> Tensor:
        """The (T, H) gradient at the x that was watched, which is then forgotten."""
        assert self.x is not None and self.x.grad is not None
        gradient, self.x = self.x.grad, None
        return gradient

    def remove(self) -> None:
        self.hook.remove()


def lengths(x: Tensor, packed: Packed) -> Tensor:
    """(T, H) → (T, 1), at each token the length of x over all tokens of its sequence, in fp32."""
    sequence = packed.sequence
    squares = torch.zeros(len(packed.boundaries) - 1, device=x.device)  # (B,)
    squares = squares.index_add(0, sequence, x.float().pow(2).sum(dim=1))
    return squares.sqrt()[sequence, None]


def unit(x: Tensor, packed: Packed) -> Tensor:
    """(T, H), every sequence of it divided by its own length over all tokens; zero stays zero. In fp32."""
    return x.float() / lengths(x, packed).clamp(min=1e-12)
