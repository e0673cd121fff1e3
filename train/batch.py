"""What the training loop is given, and what it hands to the model and to the regularizers.

Letters: n texts of a split, B texts in a micro-batch, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model.packing import Encoded, Encodings


class Texts(NamedTuple):
    """One split of the data."""

    encodings: Encodings  # n
    gold: np.ndarray  # (n,) class numbers
    sentences: Sequence[str] | None = None  # n, as they were before the tokenizer
    votes: np.ndarray | None = None  # (n, C) how many judges chose each class, where the corpus tells

    @property
    def special_ids(self) -> list[int]:
        """Of the tokens around the texts, which no noise may touch; none where the encodings do not say."""
        return sorted(getattr(self.encodings, "special_ids", ()))


@dataclass(frozen=True)
class Batch:
    """A micro-batch on its way into the model. All tensors lie on the model's device."""

    texts: Sequence[Encoded]  # B
    rows: Tensor  # (B,) which of the n training texts each is
    classes: Tensor  # (B,) its class number
    targets: Tensor  # (B, C) the probabilities that the loss asks for: at first 1 for the class, 0 for the others
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


def batch_of(texts: Texts, chosen: np.ndarray, classes: int, device: torch.device) -> Batch:
    """The micro-batch of the chosen (B,) texts."""
    gold = torch.from_numpy(texts.gold[chosen]).to(device)
    return Batch(
        texts=[texts.encodings[i] for i in chosen],
        rows=torch.from_numpy(chosen).to(device),
        classes=gold,
        targets=torch.nn.functional.one_hot(gold, classes).float(),
    )
