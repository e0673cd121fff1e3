"""What the adversarial methods share: embeddings that are watched, and moved.

Letters: B sequences, T tokens in the packed batch, H hidden size.
"""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...model.bert import Bert
from ...model.packing import Packed


class Perturbation:
    """A hook on the embeddings, in training only: it can keep what they hand to the encoder, and add `step` to it.

    `watch` asks for the x (T, H) of the next pass, whose `gradient` can then be had.
    """

    def __init__(self) -> None:
        self.watch = False
        self.watched: tuple[Tensor, Packed] | None = None  # x (T, H) of that pass, and its batch
        self.step: Tensor | None = None  # (T, H)

    def begin(self, bert: Bert) -> RemovableHandle:
        self.watch, self.watched, self.step = False, None, None
        return bert.embeddings.register_forward_hook(self.act)

    def act(self, embeddings: nn.Module, inputs: tuple[Packed], x: Tensor) -> Tensor | None:
        if not embeddings.training:
            return None
        if self.step is not None:
            x = x + self.step.to(x.dtype)
        if self.watch:
            self.watch = False
            if not x.requires_grad:  # frozen embeddings
                x = x.detach().requires_grad_()
            x.retain_grad()
            self.watched = x, inputs[0]
        return x

    def gradient(self) -> tuple[Tensor, Packed]:
        """The (T, H) gradient at the x that was watched, which is then forgotten, and its batch."""
        assert self.watched
        (x, packed), self.watched = self.watched, None
        assert x.grad is not None
        return x.grad, packed


def lengths(x: Tensor, packed: Packed) -> Tensor:
    """(T, H) → (T, 1), at each token the length of x over all tokens of its sequence, in fp32."""
    sequence = packed.sequence
    squares = torch.zeros(len(packed.boundaries) - 1, device=x.device)  # (B,)
    squares = squares.index_add(0, sequence, x.float().pow(2).sum(dim=1))
    return squares.sqrt()[sequence, None]


def unit(x: Tensor, packed: Packed) -> Tensor:
    """(T, H), every sequence of it divided by its own length over all tokens; zero stays zero. In fp32."""
    return x.float() / lengths(x, packed).clamp(min=1e-12)
