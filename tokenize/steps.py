"""Normalization step by step, as SentencePiece and the library `tokenizers` do it; every character keeps its place."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from .normalize import Aligned, Form, normalized

BLANK = "▁"  # which stands for a space in pieces, and before words
# Unicode's White_Space; Python's \s has the separators U+001C to U+001F too.
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
MANY_SPACES = re.compile(" {2,}")

Parts = list[tuple[str, int]]  # what stands in the place of how many characters, from left to right


class Step(ABC):
    """A step says what it changes in a text; from that follow the new text, and where its characters came from."""

    @abstractmethod
    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        """From where, to where, and into what; from left to right."""

    def text(self, text: str) -> str:
        new: list[str] = []
        at = 0
        for start, end, parts in self.changes(text):
            new.append(text[at:start])
            new += [part for part, _ in parts]
            at = end
        return "".join([*new, text[at:]]) if new else text

    def aligned(self, whole: Aligned) -> Aligned:
        """What stands for several characters has the span of them all; what is put in, that of a neighbour."""
        new: list[str] = []
        spans = []
        at = 0
        for start, _, parts in self.changes(whole.text):
            new.append(whole.text[at:start])
            spans += whole.spans[at:start]
            at = start
            for part, size in parts:
                new.append(part)
                spans += [whole.span(at, at + size) if size else whole.spans[min(at, len(whole.spans) - 1)]] * len(part)
                at += size
        return Aligned("".join([*new, whole.text[at:]]), spans + whole.spans[at:]) if new else whole


class Replace(Step):
    def __init__(self, pattern: str, new: str) -> None:
        self.pattern, self.new = re.compile(pattern), new

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        for found in self.pattern.finditer(text):
            start, end = found.span()
            yield start, end, [(self.new, end - start)]

    def text(self, text: str) -> str:
        return self.pattern.sub(lambda found: self.new, text)  # as above, and faster


class Strip(Step):
    """Drops characters at the ends, white space if nothing else is said."""

    def __init__(self, left: bool = True, right: bool = True, characters: str = WHITE) -> None:
        self.left, self.right, self.characters = left, right, characters

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        start = len(text) - len(text.lstrip(self.characters)) if self.left else 0
        if start:
            yield 0, start, [("", start)]
        end = max(start, len(text.rstrip(self.characters))) if self.right else len(text)
        if end < len(text):
            yield end, len(text), [("", len(text) - end)]


class OneSpace(Step):
    """Of several spaces the first is left."""

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        for found in MANY_SPACES.finditer(text):
            start, end = found.span()
            yield start + 1, end, [("", end - start - 1)]


class Add(Step):
    """Something before a text, or behind it; nothing where there is no text."""

    def __init__(self, new: str, behind: bool = False) -> None:
        self.new, self.behind = new, behind

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        if text:
            at = len(text) if self.behind else 0
            yield at, at, [(self.new, 0)]

    def text(self, text: str) -> str:
        return text and (text + self.new if self.behind else self.new + text)  # as above, and faster


class Lower(Step):
    """Character by character, so that a final Σ becomes σ."""

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        if text.lower() != text:
            for i, character in enumerate(text):
                if character.lower() != character:
                    yield i, i + 1, [(character.lower(), 1)]


class NormalForm(Step):
    def __init__(self, form: Form) -> None:
        self.form = form

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        raise NotImplementedError

    def text(self, text: str) -> str:
        return normalized(self.form, text)

    def aligned(self, whole: Aligned) -> Aligned:
        return whole.normalize(self.form)


class Outside(Step):
    """A step that leaves some strings as they are, the longest of them first."""

    def __init__(self, step: Step, kept: Sequence[str]) -> None:
        self.step = step
        self.kept = re.compile("|".join(map(re.escape, sorted(kept, key=len, reverse=True))))

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        at = 0
        for start, end in [*(found.span() for found in self.kept.finditer(text)), (len(text), len(text))]:
            yield from ((at + a, at + b, parts) for a, b, parts in self.step.changes(text[at:start]))
            at = end
