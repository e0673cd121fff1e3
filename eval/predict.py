"""Texts → logits, in batches.

Letters: n texts, B texts in a batch, S tokens of the longest, C columns of logits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.dataset import Example
from ..model.model import Model, most_tokens
from ..model.packing import NOTHING, Encodings, Packed, pack_some
from ..model.precision import autocast, round_size
from ..model.ranks import rank, ranks, sum_over_ranks
from ..tokenize.encoding import EncodedBatch
from ..tokenize.tokenizer import Tokenizer
from .progress import progress_bar
from .tasks.task import Task


def how_to_cut(
    model: Model,
    kept: Mapping[str, Any],
    max_length: int | None = None,
    truncation: str | None = None,
    windows: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """How texts are cut: as asked, else as in training, else only to what the model can read.

    kept: how it was in training, `Loaded.cut`.
    windows: whether they are not cut but read in windows.

    Returns it as arguments of the tokenizer, and a sentence for each thing that somebody may not expect.
    """
    room = most_tokens(model)
    usual: dict[str, Any] = {"max_length": room, "truncation": "longest_first"}
    trained = usual | dict(kept)
    asked = {"max_length": max_length or trained["max_length"], "truncation": truncation or trained["truncation"]}
    how = asked | {"max_length": min(asked["max_length"], room)}
    said: list[str] = []
    read = "read in windows" if windows else "cut"
    if max_length and max_length > room:
        said.append(f"max_length {max_length} is more than the model can read: {room} tokens")
    if kept and how != trained:
        before = in_words(trained, windows)
        said.append(f"texts are {read} {in_words(how, windows)}, but in training they were {read} {before}")
    elif how != usual and how == trained:
        said.append(f"texts are {read} as in training: {in_words(how, windows)}")
    return how, said


def in_words(how: Mapping[str, Any], windows: bool = False) -> str:
    return f"of {how['max_length']} tokens" if windows else f"to {how['max_length']} tokens, {how['truncation']}"


class NotFiniteError(ValueError):
    """A logit is infinite or no number."""


def require_finite(finite: Any, texts: Sequence[int] | np.ndarray) -> None:
    """Raise NotFiniteError where one of (K,) bools is false; it names the text (its number from 0) by `texts` (K,)."""
    if not finite.all():
        number = texts[int(finite.tolist().index(False))] + 1
        raise NotFiniteError(f"the model's scores for text {number} are no finite numbers: its weights are broken")


Text = str | tuple[str, str | Sequence[str]]  # a text; or two of them; or a question and its choices


def examples_of(texts: Sequence[Text | Example]) -> list[Example]:
    """n texts as examples without labels; ValueError where one is none."""
    found = []
    for number, text in enumerate(texts, start=1):
        if isinstance(text, Example):
            found.append(text)
            continue
        first, *rest = (text,) if isinstance(text, str) else text
        second: Any = rest[0] if rest else None
        choices = tuple(second) if isinstance(second, list | tuple) else None
        parts = [first, *(choices or rest)]
        if len(rest) > 1 or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"text {number} is {text!r}: a pair is two texts, and choices are a list of them")
        found.append(Example("", first, "", "", pair=second if choices is None else None, choices=choices))
    return found


@dataclass(frozen=True)
class Scorer:
    """A model, on its device, with its tokenizer and its task: texts → logits.

    how: the tokenizer's `max_length` (by default the model's positions) and `truncation`.
    """

    model: Model
    tokenizer: Tokenizer
    task: Task
    how: Mapping[str, Any] = field(default_factory=dict)
    precision: torch.dtype = torch.float32
    batch_size: int | None = None

    def __repr__(self) -> str:
        return f"Scorer({self.task.name}: {', '.join(self.task.labels)}; on {self.device})"

    @property
    def cut(self) -> dict[str, Any]:
        """The tokenizer's options for truncation."""
        return {"max_length": most_tokens(self.model)} | dict(self.how)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, texts: Sequence[Text | Example]) -> EncodedBatch:
        """n texts, each alone, or with a second one, or with choices, where the task is about such."""
        examples = examples_of(texts)
        for number, example in enumerate(examples, start=1):
            if fault := self.task.fault(example):
                raise ValueError(f"{example.id or f'text {number}'} {fault}")
        return self.task.encode(self.tokenizer, examples, **self.cut)

    def logits(self, encodings: Encodings, progress: str | None = None) -> Any:
        """(n, C), fp32, or what else the task reads answers from."""
        found = predict(self.model, encodings, self.batch_size, self.precision, progress, self.task.parts)
        return self.task.read(found.numpy(), encodings)


def texts_at_once(device: torch.device) -> int:
    """How many texts a batch has by default: more on a GPU, which Python keeps waiting between batches."""
    return 256 if device.type == "cuda" else 64


def predict(
    model: Model,
    encodings: Encodings,
    batch_size: int | None = None,
    precision: torch.dtype = torch.float32,
    progress: str | None = None,
    parts: int = 1,
) -> Tensor:
    """Logits (n, C) of n texts: fp32, on the CPU, in the order of the texts; of all tokens (n, S, C).

    Args:
        model: on the device to compute on; evaluated in evaluation mode, left in its own.
        encodings: of n texts, each of `parts` sequences.
        batch_size: by default `texts_at_once`.
        progress: the title of a progress bar; without it, or without a terminal, there is none.

    Raises:
        NotFiniteError: a logit is infinite or no number.
    """
    shape: tuple[int, ...] = (model.width,)
    if of_tokens := model.reads == "tokens":
        longest = max((len(encodings[i].ids) for i in range(len(encodings))), default=0)
        shape = (longest, *shape)

    def compute(packed: Packed) -> Tensor:
        logits = model(packed).logits
        return F.pad(logits, (0, 0, 0, longest - logits.shape[1]), value=NOTHING) if of_tokens else logits

    logits = in_batches(model, compute, shape, encodings, batch_size, precision, progress, parts)
    require_finite(logits.flatten(1).isfinite().all(dim=1), range(len(logits)))
    return logits


@torch.no_grad()  # not inference_mode, in which autocast casts the weights at every use
def in_batches(
    model: nn.Module,
    compute: Callable[[Packed], Tensor],
    shape: tuple[int, ...],
    encodings: Encodings,
    batch_size: int | None,
    precision: torch.dtype,
    progress: str | None,
    parts: int = 1,
) -> Tensor:
    """What `compute`, a function that runs the model, makes of n texts: packed batch → (B, *shape), all → (n, *shape).

    Texts of similar length share a batch; processes share the texts. All else is as in `predict`.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    # Batches by length, so that attention pads little.
    boundaries = getattr(encodings, "boundaries", None)
    count = range(len(encodings))
    each = np.array([len(encodings[i].ids) for i in count]) if boundaries is None else np.diff(boundaries)
    lengths = each.reshape(-1, parts).max(axis=1)  # (n,) of the longest sequence of each text
    share = np.argsort(lengths, kind="stable")[rank() :: ranks()]
    batch_size = batch_size or texts_at_once(device)
    batches = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
    # Forward.
    outputs = []
    with autocast(device, precision):  # around all batches: inside, weights are cast once
        for batch in progress_bar(batches, progress, "batch"):
            sequences = (batch[:, None] * parts + np.arange(parts)).ravel()
            packed = pack_some(encodings, sequences, round_size(precision)).to(device)
            outputs.append(compute(packed).float())  # (B, *shape)
    model.train(was_training)
    # Back into the order of the texts, and the shares of all processes together.
    found = torch.zeros(len(lengths), *shape, device=device)
    if outputs:
        found[torch.from_numpy(share).to(device)] = torch.cat(outputs)
    sum_over_ranks([found])
    return found.cpu()
