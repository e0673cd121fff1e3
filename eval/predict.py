"""Texts → logits, a batch at a time.

Letters: n texts, B texts in a batch, C columns of logits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..data.dataset import Example
from ..model.model import Model
from ..model.packing import Encodings, Packed, pack
from ..model.precision import autocast, round_size
from ..model.ranks import rank, ranks, sum_over_ranks
from ..tokenize.encoding import EncodedBatch
from ..tokenize.tokenizer import Tokenizer
from .tasks.task import Task


def how_to_cut(
    model: Model, kept: Mapping[str, Any], max_length: int | None = None, truncation: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """How texts are cut: as asked, else as in training, else only to what the model can read.

    kept: how it was in training, `Loaded.cut`.

    Returns it as arguments of the tokenizer, and a sentence for each thing that somebody may not expect.
    """
    room = model.config.max_position_embeddings
    usual = {"max_length": room, "truncation": "longest_first"}
    trained = usual | dict(kept)
    asked = {"max_length": max_length or trained["max_length"], "truncation": truncation or trained["truncation"]}
    how = asked | {"max_length": min(asked["max_length"], room)}
    said = []
    if max_length and max_length > room:
        said.append(f"max_length {max_length} is more than the model can read: {room} tokens")
    if kept and how != trained:
        said.append(f"texts are cut {in_words(how)}, but in training they were cut {in_words(trained)}")
    elif how != usual and how == trained:
        said.append(f"texts are cut as in training: {in_words(how)}")
    return how, said


def in_words(how: Mapping[str, Any]) -> str:
    return f"to {how['max_length']} tokens, {how['truncation']}"


class NotFiniteError(ValueError):
    """A model that answers with infinities or with what is no number."""


@dataclass(frozen=True)
class Scorer:
    """A model with its tokenizer and its task: the one way from texts to logits.

    model: on the device to compute on.
    how: the tokenizer's `max_length` (by default all that the model can read) and `truncation`.
    """

    model: Model
    tokenizer: Tokenizer
    task: Task
    how: Mapping[str, Any] = field(default_factory=dict)
    precision: torch.dtype = torch.float32
    batch_size: int = 64

    def __repr__(self) -> str:
        return f"Scorer({self.task.name}: {', '.join(self.task.labels)}; on {self.device})"

    @property
    def cut(self) -> dict[str, Any]:
        """How texts are cut, in full."""
        return {"max_length": self.model.config.max_position_embeddings} | dict(self.how)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, texts: Sequence[str | tuple[str, str] | Example]) -> EncodedBatch:
        """n texts, each alone, or with a second one where the task is about two."""
        examples = [
            text if isinstance(text, Example)
            else Example("", text[0], "", "", pair=text[1]) if isinstance(text, tuple)
            else Example("", text, "", "")
            for text in texts
        ]  # fmt: skip
        return self.task.encode(self.tokenizer, examples, **self.cut)

    def logits(self, encodings: Encodings, progress: str | None = None) -> np.ndarray:
        """(n, C), fp32."""
        return predict(self.model, encodings, self.batch_size, self.precision, progress, self.task.parts).numpy()


def predict(
    model: Model,
    encodings: Encodings,
    batch_size: int = 64,
    precision: torch.dtype = torch.float32,
    progress: str | None = None,
    parts: int = 1,
) -> Tensor:
    """Score texts.

    Args:
        model: on the device to compute on; it is put into evaluation mode, and back into its own afterwards.
        encodings: n encoded texts, each of as many sequences as it has `parts`.
        progress: a title for a progress bar; without it, or without a terminal, there is none.

    Returns:
        Logits (n, C), fp32, on the CPU, in the order of the texts.

    Raises:
        NotFiniteError: a logit is infinite or no number.
    """
    scores = in_batches(
        model,
        lambda packed: model(packed).logits,
        len(model.labels),
        encodings,
        batch_size,
        precision,
        progress,
        parts,
    )
    if not scores.isfinite().all():
        number = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise NotFiniteError(f"the model's scores for text {number + 1} are no finite numbers: its weights are broken")
    return scores


@torch.no_grad()  # not inference_mode, in which autocast casts the weights anew at every use
def in_batches(
    model: nn.Module,
    answer: Callable[[Packed], Tensor],
    width: int,
    encodings: Encodings,
    batch_size: int,
    precision: torch.dtype,
    progress: str | None,
    parts: int = 1,
) -> Tensor:
    """What `answer`, a function that runs the model, says of each text: packed batch → (B, width).

    Returns (n, width), as `predict` does in all else: texts of like length share a batch, processes share the texts.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    answers = []
    texts = [range(start, start + parts) for start in range(0, len(encodings), parts)]  # n, their sequences
    lengths = [max(len(encodings[i].ids) for i in text) for text in texts]
    by_length = sorted(range(len(texts)), key=lengths.__getitem__)  # so that attention pads little
    share = by_length[rank() :: ranks()]  # all of them, unless there are several processes
    batches = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
    silent = True if rank() or not progress else None  # None: where there is no terminal
    with autocast(device, precision):  # around all batches: inside, weights are cast once
        for batch in tqdm(batches, desc=progress, unit="batch", leave=False, disable=silent):
            packed = pack([encodings[i] for text in batch for i in texts[text]], round_size(precision)).to(device)
            answers.append(answer(packed).float())  # (B, width)
    model.train(was_training)
    found = torch.zeros(len(texts), width, device=device)
    if answers:
        found[share] = torch.cat(answers)
    sum_over_ranks([found])  # the others' are zero
    return found.cpu()
