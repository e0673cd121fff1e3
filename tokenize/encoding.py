"""Encoded texts, one or many, and the truncation of those too long for the model.

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
    """A token's id, and the characters of the text (or of the word) that it covers."""

    id: int
    start: int
    end: int


@dataclass(frozen=True)
class Encoding:
    """One text (or pair of texts) as tokens, with the special tokens of the tokenizer's `Template`."""

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[Span]  # of each token in its own text, first or second; (0, 0) for special tokens
    truncated: bool  # whether tokens were left out

    def __len__(self) -> int:
        return len(self.ids)


class EncodedText(NamedTuple):
    """One text of a batch: views into the batch's arrays."""

    ids: np.ndarray
    type_ids: np.ndarray


@dataclass(frozen=True)
class EncodedBatch:
    """B texts laid end to end, without padding: text i is ids[boundaries[i]:boundaries[i + 1]]."""

    ids: np.ndarray  # (T,) int64
    type_ids: np.ndarray  # (T,) int64
    boundaries: np.ndarray  # (B + 1,) int64
    truncated: np.ndarray  # (B,) bool, whether tokens were left out
    offsets: np.ndarray | None = None  # (T, 2) int64, those of `Encoding`; None where they were not asked for
    special_ids: frozenset[int] = frozenset()  # of the tokens that were added to the texts
    whole: np.ndarray | None = None  # (B,) int64, how many tokens each text had before it was truncated

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
        """The share of texts that were truncated, 0 to 1."""
        return float(self.truncated.mean()) if len(self) else 0.0

    def by_text(self, texts: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each of n texts, with equally many sequences: whether one of them was truncated, and how many tokens the
        longest had before; (n,) both."""
        assert self.whole is not None
        truncated, whole = self.truncated.reshape(texts, -1), self.whole.reshape(texts, -1)
        return np.asarray(truncated.any(axis=1)), whole.max(axis=1)

    def cut(self, max_length: int) -> str:
        """What was truncated to `max_length` tokens, in words; "" where nothing was."""
        lengths = self.whole[self.truncated] if self.whole is not None else np.zeros(0, dtype=np.int64)
        return what_was_cut(len(self), len(lengths), int(lengths.sum()), int(lengths.max(initial=0)), max_length)


def what_was_cut(texts: int, cut: int, tokens: int, longest: int, max_length: int) -> str:
    """The sentence about `cut` of the texts, which have so many tokens together; "" where there are none."""
    if not cut:
        return ""
    share = f"{cut / texts:.1%} ({cut} of {texts})"
    return f"{share} cut to {max_length} tokens, of {tokens / cut:.0f} on average; the longest has {longest}"


def check_truncation(truncation: str, paired: bool, max_length: int | None, added: int) -> None:
    """Raise ValueError for settings that fit no text; `added` is the number of special tokens."""
    if truncation not in TRUNCATIONS:
        raise ValueError(f"truncation {truncation!r} is not known: use one of {', '.join(TRUNCATIONS)}")
    if truncation == "only_second" and not paired:
        raise ValueError("truncation 'only_second' cuts the second text of a pair, but there is none")
    if max_length is not None and max_length < added:
        raise ValueError(f"max_length {max_length} has no room for the {added} special tokens: make it larger")


def truncate(
    first: list[Item], second: list[Item] | None, max_length: int | None, truncation: str, added: int
) -> tuple[list[Item], list[Item] | None, bool]:
    """Shorten one text or two to `max_length` tokens, the `added` special ones counted; also whether that was needed.

    longest_first: the longer text, and when both are equally long, each in turn.
    only_first, only_second: that text; ValueError when the other alone is too long.
    head_tail: a quarter of the room for a text's head, the rest for its tail (Sun et al. 2019, arXiv:1905.05583,
        section 5.3.1: 128 and 382 of 510); a pair shares the room as with longest_first.
    """
    if max_length is None:
        return first, second, False
    lengths = len(first), len(second or ())
    excess = sum(lengths) + added - max_length
    if excess <= 0:
        return first, second, False
    removed = removed_tokens(*lengths, excess, truncation)
    rooms = lengths[0] - removed[0], lengths[1] - removed[1]
    if min(rooms) < 0:
        raise ValueError(
            f"truncation {truncation!r} cannot reach max_length {max_length}: the texts have {lengths[0]} and "
            f"{lengths[1]} tokens; use 'longest_first' or a larger max_length"
        )
    first = shortened(first, rooms[0], truncation)
    return first, None if second is None else shortened(second, rooms[1], truncation), True


def removed_tokens(first: int, second: int, excess: int, truncation: str) -> tuple[int, int]:
    """How many tokens each of two texts, of `first` and `second` tokens, loses."""
    if truncation == "only_first":
        return excess, 0
    if truncation == "only_second":
        return 0, excess
    # The longer text down to the length of the other, then both alike; the second gives the odd one.
    from_longer = min(abs(first - second), excess)
    from_first = (excess - from_longer) // 2 + (from_longer if first > second else 0)
    return from_first, excess - from_first


def shortened(items: list[Item], room: int, truncation: str) -> list[Item]:
    head = (room + 2) // 4 if truncation == "head_tail" else room  # the nearest whole number to a quarter
    return items[:head] + items[len(items) - (room - head) :]
