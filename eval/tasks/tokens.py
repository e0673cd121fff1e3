"""What tasks about the tokens of a text share: windows over long texts, and logits of every token.

A text with more tokens than a sequence may have is read in several windows, each of which repeats the last third of the
one before it, so that no token is lost and each stands in some window with others around it (Devlin et al. 2019's
run_squad.py has it so for contexts). A question stands before each window of its context.

Letters: n texts, W windows, S tokens of the longest window, K tokens of all texts, C columns of logits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...data.dataset import Example
from ...tokenize.encoding import EncodedBatch, Piece
from ...tokenize.tokenizer import Tokenizer, without_place
from .task import Task

OVERLAP = 3  # a window repeats one part in so many of its room


@dataclass(frozen=True, kw_only=True)
class Windows(EncodedBatch):
    """n texts as W sequences; with the offsets of their tokens."""

    texts: Sequence[str]  # n
    owners: np.ndarray  # (W,) the number of the text of each window
    begins: np.ndarray  # (W,) the number of its first token among those of the text
    places: np.ndarray  # (W,) where that token stands in the window: after [CLS], or after the question
    counts: np.ndarray  # (W,) how many tokens of the text it has

    def by_text(self, texts: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.whole is not None
        truncated, lengths = np.zeros(texts, dtype=bool), np.zeros(texts, dtype=np.int64)
        truncated[self.owners[self.truncated]] = True
        lengths[self.owners] = self.whole
        return truncated, lengths

    def cut(self, max_length: int) -> str:
        """How many texts are read in windows, and how many questions were cut."""
        windows, said = np.bincount(self.owners, minlength=len(self.texts)), []
        if long := int((windows > 1).sum()):
            more = f"have more than {max_length} tokens, and are read in {windows[windows > 1].sum()} windows"
            said.append(f"{long} of them {more}")
        if questions := int(self.by_text(len(self.texts))[0].sum()):
            said.append(
                f"{questions} question{' is' if questions == 1 else 's are'} cut to half of {max_length} tokens"
            )
        return "; ".join(said)

    def offsets_in(self, window: int) -> np.ndarray:
        """(count, 2) of the tokens of the text in a window."""
        assert self.offsets is not None
        start = self.boundaries[window] + self.places[window]
        return self.offsets[start : start + self.counts[window]]


def windows_of(
    tokenizer: Tokenizer, texts: Sequence[str], questions: Sequence[str] | None, max_length: int | None
) -> Windows:
    """n texts, and the questions before them, as windows of `max_length` tokens at most (None: one each).

    A question is cut to half of the room. ValueError where there is no room for a token.
    """
    template, added = tokenizer.template, tokenizer.template.added(questions is not None)
    if max_length is not None and max_length < added + 2:
        raise ValueError(f"max_length {max_length} has no room for a text and {added} special tokens: make it larger")
    special = (template.before, template.between, template.after)
    before, between, after = (table_of([without_place(token) for token in some]) for some in special)
    pieces_of = cache(lambda text: table_of(tokenizer.tokens_of(text)))  # a context may have many questions
    parts: list[np.ndarray] = []  # of all windows, end to end
    rows: list[tuple[int, ...]] = []  # a row for each window, the columns of `table`
    for number, text in enumerate(texts):
        pieces, start, asked = pieces_of(text), [before], 0
        room = max(1, len(pieces)) if max_length is None else max_length - added
        question = before[:0] if questions is None else pieces_of(questions[number])
        whole = added + len(pieces) + len(question)
        if questions is not None:
            kept = question if max_length is None else question[: room // 2]
            asked, start = len(kept), [before, kept, between]
            room -= asked if max_length is not None else 0
        place = sum(map(len, start))
        for first in starts_of(len(pieces), room):
            some = pieces[first : first + room]
            parts += [*start, some, after]
            length = place + len(some) + len(after)
            of_first = length if questions is None else place
            rows.append((number, first, place, len(some), length, of_first, asked < len(question), whole))
    numbers = np.concatenate([before[:0], *parts])
    table = np.array(rows, dtype=np.int64).reshape(-1, 8)
    owners, begins, places, counts, lengths, firsts, cut, wholes = table.T
    by_type = np.stack([firsts, lengths - firsts], axis=1)  # (W, 2)
    return Windows(
        ids=np.ascontiguousarray(numbers[:, 0]),
        type_ids=np.repeat(np.tile(np.array([0, template.second_type]), len(table)), by_type.ravel()),
        boundaries=np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()]),
        truncated=cut.astype(bool),
        offsets=numbers[:, 1:],
        special_ids=template.special,
        whole=wholes,
        texts=texts,
        owners=owners,
        begins=begins,
        places=places,
        counts=counts,
    )


def table_of(pieces: Sequence[Piece]) -> np.ndarray:
    """(·, 3): ids and offsets."""
    return np.array(pieces, dtype=np.int64).reshape(-1, 3)


def starts_of(tokens: int, room: int) -> Iterable[int]:
    """Where the windows of a text of so many tokens begin; one for a text without any."""
    step = max(1, room - room // OVERLAP)
    return range(0, max(1, tokens - room + step), step)


class TokenLogits(NamedTuple):
    """The logits of windows, as a task for tokens answers and measures them."""

    rows: np.ndarray  # (W, S, C)
    windows: Windows

    def __len__(self) -> int:
        """n"""
        return len(self.windows.texts)


class Placed(NamedTuple):
    """All tokens of n texts, each once: as it was seen in the window with the most others around it."""

    owners: np.ndarray  # (K,) the text of each
    offsets: np.ndarray  # (K, 2)
    rows: np.ndarray  # (K, …) logits, or what else was known of each token of the windows


def each_once(rows: np.ndarray, windows: Windows) -> Placed:
    """(W, S, …) of the tokens of windows → (K, …) of those of the texts, but for tokens without a stretch of one."""
    assert windows.offsets is not None
    counts = windows.counts
    window = np.arange(len(windows)).repeat(counts)
    inside = np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)  # place among the window's own
    place = inside + windows.places[window]
    token = inside + windows.begins[window]
    around = np.minimum(inside, counts[window] - 1 - inside)
    order = np.lexsort((-around, token, windows.owners[window]))
    owners, offsets = windows.owners[window], windows.offsets[windows.boundaries[window] + place]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(owners[order]) != 0) | (np.diff(token[order]) != 0)
    chosen = order[first]
    chosen = chosen[offsets[chosen, 1] > offsets[chosen, 0]]
    return Placed(owners[chosen], offsets[chosen], rows[window[chosen], place[chosen]])


def trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """A stretch without the white space at its ends; None where nothing is left."""
    inside = text[start:end]
    start += len(inside) - len(inside.lstrip())
    return (start, start + len(inside.strip())) if inside.strip() else None


class TokenTask(Task):
    """A task whose head reads all tokens; what it measures logits against are the examples themselves."""

    windows = True

    def encode(self, tokenizer: Any, examples: Sequence[Example], **how: Any) -> Windows:
        """n examples → W windows. ValueError for a truncation, since nothing is cut."""
        if (truncation := how.get("truncation", "longest_first")) != "longest_first":
            raise ValueError(
                f"the task {self.name} reads long texts in windows, and cuts none: leave out --truncation {truncation}"
            )
        return windows_of(tokenizer, *self.texts_and_questions(examples), how.get("max_length"))

    def texts_and_questions(self, examples: Sequence[Example]) -> tuple[list[str], list[str] | None]:
        return [example.text for example in examples], None

    def read(self, logits: np.ndarray, encodings: Any) -> TokenLogits:
        return TokenLogits(logits, encodings)

    def targets(self, examples: Sequence[Example]) -> Any:
        return list(examples)
