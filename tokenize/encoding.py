"""What the tokenizer hands over, one text or many, and how a text too long for the model is cut.

Letters: B texts in a batch, T tokens of all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from .normalize import Span

TRUNCATIONS = ("longest_first", "only_first", "only_second", "head_tail")

Item = TypeVar("Item")


class Piece(NamedTuple):
    """A token's id, and the characters of the text (or of the word that is cut) that it covers."""

    id: int
    start: int
    end: int


@dataclass(frozen=True)
class Encoding:
    """One text (or pair of texts) as tokens, with special tokens where the tokenizer's `Template` puts them.

    offsets: (start, end) of each token in the original text, for the pair's tokens in the pair; added tokens have
        (0, 0).
    truncated: whether tokens were left out.
    """

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[Span]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


class EncodedText(NamedTuple):
    """One text of a batch: views into the batch's arrays."""

    ids: np.ndarray
    type_ids: np.ndarray


@dataclass(frozen=True)
class EncodedBatch:
    """B texts laid end to end, without padding.

    ids, type_ids: (T,) int64. boundaries: (B + 1,) int64, text i is ids[boundaries[i]:boundaries[i + 1]].
    truncated: (B,) bool, whether tokens were left out.
    offsets: (T, 2) int64, those of `Encoding`; None where they were not asked for.
    special_ids: those of the tokens that were added to the texts.
    """

    ids: np.ndarray
    type_ids: np.ndarray
    boundaries: np.ndarray
    truncated: np.ndarray
    offsets: np.ndarray | None = None
    special_ids: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.truncated)

    def __getitem__(self, index: int) -> EncodedText:
        if not -len(self) <= index < len(self):
            raise IndexError(f"text {index} of a batch of {len(self)}")
        index %= len(self)
        start, end = self.boundaries[index], self.boundaries[index + 1]
        return EncodedText(self.ids[start:end], self.type_ids[start:end])

    def __iter__(self) -> Iterator[EncodedText]:
        return (self[index] for index in range(len(self)))

    @property
    def truncated_share(self) -> float:
        """The share of texts that were cut, 0 to 1: to be reported, never silent."""
        return float(self.truncated.mean()) if len(self) else 0.0


def check_truncation(truncation: str, paired: bool, max_length: int | None, added: int) -> None:
    """Raise ValueError for settings that no text could be cut by; `added`: the number of special tokens around it."""
    if truncation not in TRUNCATIONS:
        raise ValueError(f"truncation {truncation!r} is not known: use one of {', '.join(TRUNCATIONS)}")
    if truncation == "only_second" and not paired:
        raise ValueError("truncation 'only_second' cuts the second text of a pair, but there is none")
    if max_length is not None and max_length < added:
        raise ValueError(f"max_length {max_length} has no room for the {added} special tokens: make it larger")


def truncate(
    first: list[Item], second: list[Item] | None, max_length: int | None, truncation: str, added: int
) -> tuple[list[Item], list[Item] | None, bool]:
    """Cut one text or two to `max_length` tokens, the `added` special ones counted; also whether anything was cut.

    longest_first: the longer text, and when both are equally long, each in turn.
    only_first, only_second: that text; ValueError when the other alone is too long.
    head_tail: a quarter of the room for a text's head, three quarters for its tail (Sun et al. 2019,
        arXiv:1905.05583, section 5.3.1: 128 and 382 of 510); a pair shares the room as with longest_first.
    """
    if max_length is None:
        return first, second, False
    lengths = len(first), len(second or ())
    excess = sum(lengths) + added - max_length
    if excess <= 0:
        return first, second, False
    rooms = [length - cut for length, cut in zip(lengths, cuts(*lengths, excess, truncation), strict=True)]
    if min(rooms) < 0:
        raise ValueError(
            f"truncation {truncation!r} cannot reach max_length {max_length}: the texts have {lengths[0]} and "
            f"{lengths[1]} tokens; use 'longest_first' or a larger max_length"
        )
    shorten = head_and_tail if truncation == "head_tail" else head_only
    return shorten(first, rooms[0]), None if second is None else shorten(second, rooms[1]), True


def cuts(first: int, second: int, excess: int, truncation: str) -> tuple[int, int]:
    """How many tokens each of two texts loses."""
    if truncation == "only_first":
        return excess, 0
    if truncation == "only_second":
        return 0, excess
    # The longer text down to the length of the other, then both alike; the second gives the odd one.
    from_longer = min(abs(first - second), excess)
    from_first = (excess - from_longer) // 2 + (from_longer if first > second else 0)
    return from_first, excess - from_first


def head_only(items: list[Item], room: int) -> list[Item]:
    return items[:room]


def head_and_tail(items: list[Item], room: int) -> list[Item]:
    head = (room + 2) // 4  # the nearest whole number to a quarter
    return items[:head] + items[len(items) - (room - head) :]
