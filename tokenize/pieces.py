"""Words → pieces by a unigram language model: of all ways to cut a word into pieces, the likeliest.

A piece has a log probability, a way to cut has the sum of those of its pieces, and the best one is found from left to
right (Viterbi). Kudo 2018, "Subword Regularization", arXiv:1804.10959, section 3.2.

Letters: n characters of a word, W words of many texts, T characters of them all, K stretches.
"""

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from threading import Lock
from typing import Any

import numpy as np

PREFIX = -math.inf  # in the table: no piece, but the beginning of one
STRETCHES_KEPT = 2_000_000  # characters of them
PAIRS = 1 << 22
# How far rounding moves a sum, as a share of it, in single and in double precision; taken four times, to be safe.
ROUNDING = {"f": 2.0**-22, "d": 2.0**-51}


@dataclass(frozen=True)
class Cut:
    """The best way to cut a word: where its n pieces begin and, last, where they end."""

    places: list[int]
    total: float  # its sum, with what it began from
    margin: float  # by how much it is better than any other way; never too large


@dataclass
class Unigram:
    """scores: of each piece that can be found in a text, its log probability.

    unknown: that of a character that no piece is made of.
    sums: "f", single precision, as SentencePiece sums, or "d", double, as `tokenizers`: which of two ways is the better
        may hang on it, as for ああ|あ and あ|ああ.
    """

    scores: Mapping[str, float]
    unknown: float
    sums: str

    @cached_property
    def table(self) -> dict[str, float]:
        """The scores, and PREFIX for what is only the beginning of a piece."""
        table = dict.fromkeys((piece[:size] for piece in self.scores for size in range(1, len(piece))), PREFIX)
        table.update(self.scores)
        return table

    def cut(self, word: str, start: float = 0.0) -> Cut:
        """The best way to cut a word; `start` is the sum of what stands before it."""
        n, find, unknown = len(word), self.table.get, self.unknown
        best = array(self.sums, [start]) * (n + 1)  # by its end: the sum of the best way to it, rounded as it is put in
        begins = [-1] * (n + 1)  # where the last piece of that way begins
        margins = [math.inf] * (n + 1)
        for i in range(n):
            here, j, score = best[i], i + 1, find(word[i])
            last = score is None  # whether no piece begins with what stands from i to j
            if score is None or score == PREFIX:
                score = unknown
            while True:
                if begins[j] < 0:
                    if score != PREFIX:
                        best[j], begins[j] = here + score, i
                elif score != PREFIX:
                    before = best[j]
                    gain = here + score - before
                    if gain > 0:
                        best[j] = here + score
                        if best[j] > before:  # also when it is rounded
                            begins[j] = i
                    margins[j] = gain if gain > 0 else min(margins[j], -gain)
                j += 1
                if last or j > n:
                    break
                score = find(word[i:j])
                if score is None:
                    break
        places = [n]
        margin = math.inf
        while places[-1]:
            margin = min(margin, margins[places[-1]])
            places.append(begins[places[-1]])
        return Cut(places[::-1], best[n], margin)

    # --- many texts ----------------------------------------------------------------------------------------------

    @cached_property
    def joined(self) -> np.ndarray:
        """(PAIRS,) bool, for each pair of characters (by `pair`) whether one piece has both beside each other.

        Where no piece has them, every way to cut a word cuts between them: a word is the stretches between such places,
        and each stretch is cut on its own. Pairs that share a number only make stretches longer.
        """
        codes = code_points("\0".join(self.scores))
        joined = np.zeros(PAIRS, dtype=bool)
        joined[pair(codes)] = True
        return joined

    @cached_property
    def stretches(self) -> "Stretches":
        return Stretches()

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in ("scores", "unknown", "sums")}  # pickled without what was kept

    def cut_many(
        self, texts: Sequence[Sequence[str]], ids_of: Callable[[str, Cut], tuple[int, ...]]
    ) -> Iterator[list[int] | None]:
        """The words of each text, cut into stretches and these into ids by `ids_of`; None where rounding may decide."""
        kept = self.stretches
        if kept.size > STRETCHES_KEPT:
            kept = self.stretches = Stretches()
        words = list(chain.from_iterable(texts))
        whole = "".join(words)
        if not whole:
            yield from ([] for _ in texts)
            return
        # Where stretches begin: (T,) -> (K,)
        begins = np.concatenate([[True], ~self.joined[pair(code_points(whole))]])
        begins[np.array([0, *accumulate(map(len, words))])[:-1]] = True
        places = np.flatnonzero(begins)
        ends = [*places[1:].tolist(), len(whole)]
        numbers = []
        with kept.lock:
            for start, end in zip(places.tolist(), ends, strict=True):
                stretch = whole[start:end]
                number = kept.numbers.get(stretch)
                if number is None:
                    cut = self.cut(stretch)
                    number = kept.add(stretch, cut, ids_of(stretch, cut))
                numbers.append(number)
            of_each = np.array(numbers)
            totals, margins = (np.array(every)[of_each] for every in (kept.totals, kept.margins))
        # Which stretches each text has: (B + 1,)
        characters = [0, *accumulate(sum(map(len, text)) for text in texts)]
        bounds = np.searchsorted(places, characters)
        sums = np.abs(totals).cumsum()
        before = np.concatenate([[0.0], sums])[bounds[:-1]]
        sizes = np.diff(bounds)
        reached = sums - np.repeat(before, sizes)  # (K,), how large the sum of a text is after the stretch
        sure = margins > reached * ROUNDING[self.sums]
        unsure = np.concatenate([[0], (~sure).cumsum()])[bounds]
        found = kept.ids
        for start, end, some in zip(bounds.tolist(), bounds[1:].tolist(), np.diff(unsure).tolist(), strict=False):
            yield None if some else list(chain.from_iterable([found[number] for number in numbers[start:end]]))


class Stretches:
    """What stretches were cut into, by numbers: a few thousand make up most of any corpus (Zipf's law)."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.ids: list[tuple[int, ...]] = []
        self.totals, self.margins = array("d"), array("d")  # the margin for each character
        self.size = 0
        self.lock = Lock()  # of threads that share a tokenizer: while an array is read it cannot grow

    def add(self, stretch: str, cut: Cut, ids: tuple[int, ...]) -> int:
        number = self.numbers[stretch] = len(self.ids)
        self.ids.append(ids)
        self.totals.append(cut.total)
        self.margins.append(cut.margin / len(stretch))
        self.size += len(stretch)
        return number


def code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def pair(codes: np.ndarray) -> np.ndarray:
    """(T,) -> (T - 1,), a number below PAIRS for each two that stand beside each other."""
    return (codes[:-1] * np.uint32(40503) + codes[1:]) % np.uint32(PAIRS)
