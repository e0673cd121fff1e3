"""An encoder's input and output. Packed batches: B sequences laid end to end as T tokens.

Three sequences of 3, 1 and 2 tokens make T = 6:

    ids         a a a b c c      the tokens
    positions   0 1 2 0 0 1      where each stands in its own sequence
    boundaries  0 3 4 6          sequence b is tokens boundaries[b] to boundaries[b + 1]
    slots       0 1 2 3 6 7      where each stands in attention's padded (R × S) matrix: here each has a row, S = 3

Padding is in two places. Attention's kernels for the CPU (eager and sdpa) pad to R rows of S inside; sequences may
share a row, so that little of it is padding: here b and c, with slots 0 1 2 5 3 4. And batches in bf16 and fp16 are
filled up with sequences of [PAD], so that T is a multiple of 8 or more. Everything but attention computes on (T, …).

Packed sequences are the input of variable-length attention (Dao 2023, FlashAttention-2, arXiv:2307.08691).

Letters: B sequences in a batch, T tokens in the packed batch, S tokens of the longest sequence, R rows of S.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

NOTHING = -8192.0  # the logit of a token that is not there: half precision has it exactly, and its share is 0


class Encoded(Protocol):
    """One encoded text: two equally long sequences of integers."""

    @property
    def ids(self) -> Any: ...
    @property
    def type_ids(self) -> Any: ...


class Encodings(Protocol):
    """Encoded texts by number: a list of them, or the tokenizer's flat batch."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Encoded: ...


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on another device; to a GPU it goes through pinned memory, so that nothing waits for the copy."""
    if torch.device(device).type == "cuda" and tensor.is_cpu:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@dataclass
class Packed:
    """B sequences as T tokens. All tensors are on one device."""

    ids: Tensor  # (T,) int64 token ids
    type_ids: Tensor  # (T,) int64 segments: 0 for the first text, 1 for the second
    positions: Tensor  # (T,) int64
    slots: Tensor  # (T,) int64
    boundaries: Tensor  # (B + 1,) int32, the type that variable-length kernels take; longer where it is filled up
    longest: int  # S, an int so that nothing waits for the device
    owners: Tensor | None = None  # (R, S) the sequence in each slot, -1 for padding; None where each has its own row
    fillers: int = 0  # how many sequences, the last ones, are of [PAD]

    def __len__(self) -> int:
        """B, without the sequences of [PAD]."""
        return len(self.boundaries) - 1 - self.fillers

    @property
    def first(self) -> Tensor:
        """(B,) the index of each sequence's first token, its [CLS]."""
        return self.boundaries[: len(self)]

    @property
    def rows(self) -> int:
        """R."""
        return len(self.boundaries) - 1 if self.owners is None else len(self.owners)

    @property
    def sequence(self) -> Tensor:
        """(T,) the number of the sequence that each token belongs to: 0 0 0 1 2 2."""
        return torch.repeat_interleave(self.boundaries.diff().long(), output_size=len(self.ids))

    def sums(self, x: Tensor) -> Tensor:
        """(T, …) → (B, …), summed over the tokens of each sequence, in fp32."""
        found = x.new_zeros(len(self.boundaries) - 1, *x.shape[1:], dtype=torch.float32)
        return found.index_add(0, self.sequence, x.float())[: len(self)]

    def padded(self, x: Tensor) -> Tensor:
        """(T, C) → (B, S, C), a row for each sequence, with NOTHING behind those that are shorter than the longest."""
        found = x.new_full((len(self.boundaries) - 1, self.longest, x.shape[1]), NOTHING)
        return found.index_put((self.sequence, self.positions), x)[: len(self)]

    def to(self, device: torch.device | str) -> "Packed":
        """The same batch on another device; nothing waits for the copy to a GPU."""
        return self.map(lambda tensor: sent(tensor, device))

    def map(self, change: Callable[[Tensor], Tensor]) -> "Packed":
        """The batch with `change` made to every tensor."""
        changed: dict[str, Any] = {name: change(x) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **changed)


@dataclass
class Output:
    """A model's output; None where it was not requested or the model has no such part."""

    hidden: Tensor  # (T, H) the last layer; (B, H) with `first_only`
    pooled: Tensor | None = None  # (B, H) one vector a sequence; of a Model, its head's input
    logits: Tensor | None = None  # (B, C) of a classifier, (B, S, C) of tokens, (T, V) of a masked-language model
    class_logits: Tensor | None = None  # (B, C) of a masked-language model with labels
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (T, H): embeddings, then every layer
    attentions: tuple[Tensor, ...] | None = None  # L of (B, N, S, S): query × key, zero outside a sequence


def pack(
    encodings: Sequence[Encoded],
    multiple: int | None = None,
    share_rows: bool = False,
    even: tuple[int, int] | None = None,
) -> Packed:
    """Lay encoded texts end to end.

    Args:
        encodings: B encodings, each of its own length.
        multiple, share_rows, even: as `pack_flat` takes them.

    Raises:
        ValueError: no encodings, or one without a single token.
    """
    lengths = np.array([len(encoding.ids) for encoding in encodings], dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    ids = np.concatenate([none, *(encoding.ids for encoding in encodings)])
    type_ids = np.concatenate([none, *(encoding.type_ids for encoding in encodings)])
    return pack_flat(ids, type_ids, lengths, multiple, share_rows, even)


def pack_some(encodings: Encodings, numbers: np.ndarray, multiple: int | None = None) -> Packed:
    """`pack` of some of many texts; of a flat batch without a step of Python for each."""
    boundaries = getattr(encodings, "boundaries", None)
    if boundaries is None:
        return pack([encodings[i] for i in numbers], multiple)
    flat: Any = encodings
    starts = boundaries[numbers]
    lengths = boundaries[numbers + 1] - starts
    chosen = places(starts, lengths)
    return pack_flat(flat.ids[chosen], flat.type_ids[chosen], lengths, multiple)


def places(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(B,), (B,) → (T,) the places of the tokens of sequences that begin at `starts`, one sequence after the other."""
    return np.arange(lengths.sum()) + (starts - (lengths.cumsum() - lengths)).repeat(lengths)


def pack_flat(
    ids: np.ndarray,
    type_ids: np.ndarray,
    lengths: np.ndarray,
    multiple: int | None = None,
    share_rows: bool = False,
    even: tuple[int, int] | None = None,
) -> Packed:
    """A packed batch of sequences that lie end to end already: (T,) ids and type ids, (B,) lengths.

    Args:
        multiple: fill T up with [PAD] to a multiple of it; from 64 times that on to one of twice as much, from 128
            times that on of four times as much, and so on: one token in 100 on average. Libraries of matrix products
            (oneDNN) compile a program for each size, so thousands of batches should have few sizes.
        share_rows: let short sequences share a row of attention's padded matrix, which is faster where lengths differ
            much; the attention of such a batch cannot be shown.
        even: a step and the S of all batches but those with a longer sequence, at least the step, for batches of very
            few sizes: T becomes a multiple of the step by one sequence of [PAD] in each batch.

    Raises:
        ValueError: no sequences, or one without a single token.
    """
    if not len(lengths) or not lengths.all():
        what = f"sequence {int(lengths.argmin())} has no tokens" if len(lengths) else "there is no sequence"
        raise ValueError(f"cannot pack: {what}; encode() gives at least [CLS] and [SEP]")
    longest, tokens = int(lengths.max()), int(lengths.sum())
    # Sequences of [PAD] fill the batch up.
    if even:
        step, longest = even[0], max(even[1], longest)
        fillers = [step - tokens % step]
    else:
        filler = -tokens % (multiple << (tokens // (64 * multiple)).bit_length()) if multiple else 0
        fillers = [min(longest, filler - start) for start in range(0, filler, longest)]
    lengths = np.append(lengths, fillers).astype(np.int64)
    padding = np.zeros(sum(fillers), dtype=np.int64)  # [PAD]'s id in most BERTs; nothing reads what becomes of it
    # Where each token stands, in its sequence and in attention's padded matrix.
    boundaries = np.concatenate([[0], lengths.cumsum()])
    positions = np.arange(boundaries[-1]) - boundaries[:-1].repeat(lengths)
    starts = shared_rows(lengths, longest) if share_rows else longest * np.arange(len(lengths))
    slots = positions + starts.repeat(lengths)
    owners = None
    rows = int(starts.max()) // longest + 1
    if rows < len(lengths):
        owners = torch.full((rows, longest), -1)
        owners.view(-1)[torch.from_numpy(slots)] = torch.from_numpy(np.arange(len(lengths)).repeat(lengths))
    return Packed(
        ids=torch.from_numpy(np.concatenate([ids, padding]).astype(np.int64)),
        type_ids=torch.from_numpy(np.concatenate([type_ids, padding]).astype(np.int64)),
        positions=torch.from_numpy(positions),
        slots=torch.from_numpy(slots),
        boundaries=torch.from_numpy(boundaries.astype(np.int32)),
        longest=longest,
        owners=owners,
        fillers=len(fillers),
    )


def shared_rows(lengths: np.ndarray, longest: int) -> np.ndarray:
    """(B,) the first slot of each sequence: the longest sequences first, each in the first row with room for it."""
    starts = np.zeros(len(lengths), dtype=np.int64)
    room: list[int] = []  # in each row
    for number in np.argsort(-lengths, kind="stable"):
        length = int(lengths[number])
        row = next((i for i, left in enumerate(room) if left >= length), len(room))
        if row == len(room):
            room.append(longest)
        starts[number] = (row + 1) * longest - room[row]
        room[row] -= length
    return starts if len(room) < len(lengths) else longest * np.arange(len(lengths))  # none shares: in order
