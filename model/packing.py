"""Packed batches: B sequences laid end to end as T tokens, without padding.

Letters: B sequences in a batch, T tokens in the packed batch, S tokens of the longest sequence.

Three sequences of 3, 1 and 2 tokens make T = 6:

    ids         a a a b c c      the tokens
    positions   0 1 2 0 0 1      where each stands in its own sequence
    boundaries  0 3 4 6          sequence b is tokens boundaries[b] to boundaries[b + 1]
    slots       0 1 2 3 6 7      where each would stand in a padded (B × S) matrix, S = 3

Everything but attention works on the (T, …) form and never sees where a sequence ends. Uneven sequences packed like
this are the usual input of variable-length attention (Dao 2023, FlashAttention-2, arXiv:2307.08691).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Encoded(Protocol):
    """What `pack` needs of one encoded text: two equally long sequences of integers."""

    @property
    def ids(self) -> Any: ...
    @property
    def type_ids(self) -> Any: ...


class Encodings(Protocol):
    """Encoded texts by number: a list of them, or the tokenizer's flat batch."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Encoded: ...


@dataclass
class Packed:
    """B sequences as T tokens. All tensors lie on one device."""

    ids: Tensor  # (T,) int64 token ids
    type_ids: Tensor  # (T,) int64 segments: 0 for the first text, 1 for the second
    positions: Tensor  # (T,) int64
    slots: Tensor  # (T,) int64
    boundaries: Tensor  # (B + 1,) int32, the type that variable-length kernels take
    longest: int  # S, known to Python so that nothing waits for the device

    def __len__(self) -> int:
        """B, the number of sequences."""
        return len(self.boundaries) - 1

    @property
    def first(self) -> Tensor:
        """(B,) where each sequence begins: the index of its [CLS]."""
        return self.boundaries[:-1]

    def to(self, device: torch.device | str) -> "Packed":
        """The same batch on another device; from pinned memory the copy does not wait."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def map(self, change: Callable[[Tensor], Tensor]) -> "Packed":
        """The batch with every tensor changed alike."""
        return Packed(
            change(self.ids),
            change(self.type_ids),
            change(self.positions),
            change(self.slots),
            change(self.boundaries),
            self.longest,
        )


def pack(encodings: Sequence[Encoded]) -> Packed:
    """Lay encoded texts end to end.

    Args:
        encodings: B encodings, each with `ids` and `type_ids` of its own length.

    Raises:
        ValueError: no encodings, or one without a single token.
    """
    lengths = np.array([len(encoding.ids) for encoding in encodings], dtype=np.int64)
    if not len(lengths) or not lengths.all():
        what = f"sequence {int(lengths.argmin())} has no tokens" if len(lengths) else "there is no sequence"
        raise ValueError(f"cannot pack: {what}; encode() gives at least [CLS] and [SEP]")
    longest = int(lengths.max())
    boundaries = np.concatenate([[0], lengths.cumsum()])
    positions = np.arange(boundaries[-1]) - boundaries[:-1].repeat(lengths)
    slots = positions + longest * np.arange(len(lengths)).repeat(lengths)
    return Packed(
        ids=torch.from_numpy(np.concatenate([e.ids for e in encodings]).astype(np.int64)),
        type_ids=torch.from_numpy(np.concatenate([e.type_ids for e in encodings]).astype(np.int64)),
        positions=torch.from_numpy(positions),
        slots=torch.from_numpy(slots),
        boundaries=torch.from_numpy(boundaries.astype(np.int32)),
        longest=longest,
    )
