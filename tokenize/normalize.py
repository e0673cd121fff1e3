"""Normalization with alignment: NFKC, lower case, dropped accents, and where each character came from.

A tokenizer reads normalized text (ＡＢＣ becomes ABC, ｶﾞ becomes ガ, ㍿ becomes 株式会社), but offsets point into the
original. So an `Aligned` has the characters, and beside each the span of the original that it stands for.

Normalization forms: Unicode Standard Annex #15. That a text may be normalized segment by segment follows from its
section 9 (a starter that cannot join what stands before it begins anew).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Literal, NamedTuple

Span = tuple[int, int]

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
DECOMPOSED: dict[Form, Form] = {"NFC": "NFD", "NFD": "NFD", "NFKC": "NFKD", "NFKD": "NFKD"}
SHORT_TEXT = 1000  # characters; Python's normalization takes at most a millisecond for them, whatever they are
# Where many combining marks in a row may stand: the half-width voicing marks are letters to \w, marks after NFKC.
MARKS = re.compile(r"(?:[^\w\s]|[\uff9e\uff9f]){100,}")


def normalized(form: Form, text: str) -> str:
    """`unicodedata.normalize`, which sorts the marks of a letter in a time that grows with the square of their number.

    In a long text they are sorted before (a stable sort by combining class, Unicode Standard, section 3.11, D109):
    the result is the same for every text.
    """
    if len(text) > SHORT_TEXT:
        text = MARKS.sub(lambda found: sorted_marks(form, found[0]), text)
    return unicodedata.normalize(form, text)


def sorted_marks(form: Form, text: str) -> str:
    parts = []
    for is_mark, characters in groupby(text, key=lambda character: begins_with_mark(form, character)):
        part = "".join(characters)
        if is_mark:
            marks = (mark for character in part for mark in unicodedata.normalize(DECOMPOSED[form], character))
            part = "".join(sorted(marks, key=unicodedata.combining))
        parts.append(part)
    return "".join(parts)


def begins_with_mark(form: Form, character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize(DECOMPOSED[form], character)[0]) > 0


class Aligned(NamedTuple):
    """A text, and for each of its characters the (start, end) of the original that it came from.

    Starts never decrease, nor do ends; characters made from the same stretch (コ and ト from ヿ) share its span.
    """

    text: str
    spans: list[Span]

    @classmethod
    def of(cls, text: str) -> "Aligned":
        return cls(text, [(i, i + 1) for i in range(len(text))])

    def normalize(self, form: Form) -> "Aligned":
        """The text in normal form; a character gets the whole span of the segment it came from."""
        if normalized(form, self.text) == self.text:
            return self
        parts: list[str] = []
        spans: list[Span] = []
        for start, end in segments(form, self.text):
            part = normalized(form, self.text[start:end])
            parts.append(part)
            spans.extend([self.span(start, end)] * len(part))
        return Aligned("".join(parts), spans)

    def lower(self) -> "Aligned":
        lowered = self.text.lower()
        if len(lowered) == len(self.text):
            return Aligned(lowered, self.spans)
        # One character may become two: İ is i and a combining dot.
        lengths = [len(character.lower()) for character in self.text]
        return Aligned(lowered, [span for span, n in zip(self.spans, lengths, strict=True) for _ in range(n)])

    def keep(self, wanted: Callable[[str], bool]) -> "Aligned":
        kept = [i for i, character in enumerate(self.text) if wanted(character)]
        if len(kept) == len(self.text):
            return self
        return Aligned("".join(self.text[i] for i in kept), [self.spans[i] for i in kept])

    def part(self, start: int, end: int) -> "Aligned":
        return Aligned(self.text[start:end], self.spans[start:end])

    def span(self, start: int, end: int) -> Span:
        """Where characters start to end (at least one) stand in the original."""
        return self.spans[start][0], self.spans[end - 1][1]


def segments(form: Form, text: str) -> Iterator[Span]:
    """The shortest stretches of `text` whose normal forms, laid end to end, are the normal form of the whole."""
    start = 0
    for position in range(1, len(text)):
        # A combining mark never begins a segment; asking this first keeps ten thousand marks in a row linear.
        if begins_with_mark(form, text[position]):
            continue
        last = normalized(form, text[start:position])[-1]
        if unicodedata.normalize(form, last + text[position]) == last + unicodedata.normalize(form, text[position]):
            yield start, position
            start = position
    if text:
        yield start, len(text)
