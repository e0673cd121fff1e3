"""What a training step computes: from a batch to gradients, and from gradients to new weights.

Letters: B texts in a micro-batch, C columns of logits.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ..model.model import Model, most_tokens
from ..model.packing import Encodings, Output, Packed, pack
from ..model.precision import autocast, choose_precision, round_size
from ..model.ranks import sum_gradients
from .batch import Batch
from .graphs import Graphs, Halves, even_sizes, why_not
from .optimizer import adamw, clip_gradients
from .settings import Settings
from .team import Team

log = logging.getLogger("tezukuri")


class Step:
    """A step of a run: `learn` from each micro-batch, then `update` the weights.

    texts: all that are learned from; the sizes of batches for CUDA graphs depend on the longest.
    """

    def __init__(self, model: Model, team: Team, settings: Settings, texts: Encodings, device: torch.device) -> None:
        self.model, self.team, self.device = model, team, device
        self.max_norm = settings.max_grad_norm
        self.precision = choose_precision(settings.precision, device)
        reason = why_not(settings, device, self.precision, team, model.reads) if settings.graphs else ""
        if reason:
            log.warning("steps cannot be replayed as CUDA graphs (%s): going on without", reason)
        graphs = settings.graphs and not reason
        self.optimizer = adamw(model, settings, team.rate, graphs)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.clip_in_step = device.type in ("cpu", "cuda") and not self.scaler.is_enabled()
        self.forward = compiled(model) if settings.compile else model
        self.loss_of = team.own_loss or model.classifier.loss  # fp32 (B, C), (B, C) -> (B,) or (B, C), to be summed
        self.even = even_sizes(texts, most_tokens(model)) if graphs else None
        self.halves = Halves(model, self.precision) if graphs and self.precision == torch.bfloat16 else None
        self.replayed = Graphs(self.whole) if graphs else None
        self.norm = torch.zeros((), device=device)  # of the gradients that a graph has clipped

    def learn(self, batch: Batch, texts: int, of: int) -> dict[str, Tensor]:
        """Add the gradients of a micro-batch of so many texts of a window; returns its task loss and penalties."""
        packed = pack(batch.texts, round_size(self.precision), not self.even, self.even).to(self.device)
        found = (self.replayed or self.gradients)(packed, batch, texts, of)
        self.norm = found.pop("norm", self.norm)
        return found

    def gradients(self, packed: Packed, batch: Batch, texts: int, of: int) -> dict[str, Tensor]:
        # Forward: the task loss, then the penalties; a mean over the texts of the window.
        portion = texts / len(batch.targets) / of  # a repeated text counts once
        output, loss = self.one_pass(packed, batch, portion)
        found = {"loss": loss.detach()}
        loss = loss * self.team.first_share
        for name, penalty in self.team.penalties(output, batch).items():
            loss = loss + penalty * texts / of
            found[f"train_{name}"] = penalty.detach()
        # Backward, and what regularizers add by further passes.
        self.scaler.scale(loss).backward()
        self.team.second_pass(lambda *at: self.scaler.scale(self.one_pass(*at)[1]), packed, batch, portion)
        return found

    def one_pass(self, packed: Packed, batch: Batch, portion: float) -> tuple[Output, Tensor]:
        """The model on a micro-batch, and the sum of its losses times a portion."""
        with autocast(self.device, self.precision):
            output = self.forward(packed)  # logits (B, C)
        return output, portion * self.loss_of(output.logits.float(), batch.targets).sum()

    def update(self) -> Tensor:
        """Clip the gradients and take the step; returns their norm before. A replayed graph has done so already."""
        if self.replayed:
            return self.norm
        sum_gradients(self.model)
        return self.clip_and_step()

    def clip_and_step(self) -> Tensor:
        self.scaler.unscale_(self.optimizer)
        self.team.change_gradients(self.model)
        norm = clip_gradients(self.model, self.optimizer, self.max_norm, self.clip_in_step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return norm

    def whole(self, packed: Packed, batch: Batch, texts: int, of: int) -> dict[str, Tensor]:
        """What a graph replays: gradients and update, with weights that are cast together where they are cast."""
        with self.halves.at_work() if self.halves else nullcontext():
            found = self.gradients(packed, batch, texts, of)
        return found | {"norm": self.clip_and_step()}


def compiled(model: Model) -> Callable[[Packed], Any]:
    """The model compiled, for batches of any size; a warning, and the model itself, where that cannot be done."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second

    fast: Callable[[Packed], Any] = torch.compile(model, dynamic=True)

    def forward(packed: Packed) -> Any:
        nonlocal fast
        try:
            return fast(packed)
        except TorchDynamoException as error:
            log.warning("torch cannot compile the model here (%s): going on without", str(error).split("\n")[0])
            fast = model
            return model(packed)

    return forward
