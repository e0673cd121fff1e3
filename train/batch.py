"""The input of the training loop, and of the model and the regularizers in it.

A task about tokens counts each window of a long text as a text.

Letters: n texts of a split, B texts in a micro-batch, C columns of logits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model.packing import Encoded, Encodings, sent


class Texts(NamedTuple):
    """One split of the data."""

    encodings: Encodings  # n · parts
    targets: np.ndarray  # (n, C) float32, as the head's loss takes them
    sentences: Sequence[Any] | None = None  # n, as they were before the tokenizer; of pairs the examples
    votes: np.ndarray | None = None  # (n, C) how many judges chose each class, where the corpus has votes
    parts: int = 1  # sequences of a text
    against: Any = None  # what the task measures logits against, where that is something else than the targets

    @property
    def gold(self) -> np.ndarray:
        """(n,) class numbers, where the columns are classes."""
        return self.targets.argmax(axis=1)

    @property
    def special_ids(self) -> list[int]:
        """Ids of special tokens, which no noise may change; empty where the encodings have none."""
        return sorted(getattr(self.encodings, "special_ids", ()))


@dataclass(frozen=True)
class Batch:
    """A micro-batch. All tensors are on the model's device."""

    texts: Sequence[Encoded]  # encodings, B · parts
    rows: Tensor  # (B,) the number of each among the n training texts
    classes: Tensor  # (B,) its class number, where the columns are classes
    targets: Tensor  # (B, C)
    doubled: bool = False  # whether the second half repeats the first

    def twice(self) -> "Batch":
        """The batch with all texts repeated once; a doubled batch stays as it is."""
        if self.doubled:
            return self
        return replace(
            self,
            texts=[*self.texts, *self.texts],
            rows=self.rows.repeat(2),
            classes=self.classes.repeat(2),
            targets=self.targets.repeat(2, 1),
            doubled=True,
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with `change` made to every tensor."""
        return replace(self, rows=change(self.rows), classes=change(self.classes), targets=change(self.targets))

    def spread(self, values: Tensor) -> Tensor:
        """(B, …) values of the texts → of the rows of the logits, of which a text may have several."""
        return values.repeat_interleave(len(self.targets) // len(self.rows), dim=0)


def batch_of(texts: Texts, chosen: np.ndarray, device: torch.device) -> Batch:
    targets = sent(torch.from_numpy(texts.targets[chosen]), device)
    return Batch(
        texts=[texts.encodings[i * texts.parts + part] for i in chosen for part in range(texts.parts)],
        rows=sent(torch.from_numpy(chosen), device),
        classes=targets.argmax(dim=-1),
        targets=targets,
    )
