"""What the training loop is given, and what it hands to the model and to the regularizers.

Letters: n texts of a split, B texts in a micro-batch, C columns of logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model.packing import Encoded, Encodings


class Texts(NamedTuple):
    """One split of the data. A text is of `parts` sequences, mostly one."""

    encodings: Encodings  # n · parts
    targets: np.ndarray  # (n, C) float32, what the head's loss asks for
    sentences: Sequence[Any] | None = None  # n, as they were before the tokenizer; of pairs the examples
    votes: np.ndarray | None = None  # (n, C) how many judges chose each class, where the corpus tells
    parts: int = 1

    @property
    def gold(self) -> np.ndarray:
        """(n,) the likeliest class of each, where the columns are classes."""
        return self.targets.argmax(axis=1)

    @property
    def special_ids(self) -> list[int]:
        """Of the tokens around the texts, which no noise may touch; none where the encodings do not say."""
        return sorted(getattr(self.encodings, "special_ids", ()))


@dataclass(frozen=True)
class Batch:
    """A micro-batch on its way into the model. All tensors lie on the model's device."""

    texts: Sequence[Encoded]  # B, times the sequences that a text is of
    rows: Tensor  # (B,) which of the n training texts each is
    classes: Tensor  # (B,) its class number, where the columns are classes
    targets: Tensor  # (B, C)
    doubled: bool = False  # whether the second half repeats the first

    def twice(self) -> "Batch":
        """All texts, and then all of them again; a batch that is so already stays as it is."""
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

    def spread(self, values: Tensor) -> Tensor:
        """(B, …) values of the texts → of the rows of the logits, which are more where a text gets several."""
        return values.repeat_interleave(len(self.targets) // len(self.rows), dim=0)


def batch_of(texts: Texts, chosen: np.ndarray, device: torch.device) -> Batch:
    """The micro-batch of the chosen (B,) texts."""
    targets = torch.from_numpy(texts.targets[chosen]).to(device)
    return Batch(
        texts=[texts.encodings[i * texts.parts + part] for i in chosen for part in range(texts.parts)],
        rows=torch.from_numpy(chosen).to(device),
        classes=targets.argmax(dim=-1),
        targets=targets,
    )
