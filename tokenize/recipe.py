"""How a text becomes pieces of a unigram model, whichever kind of file says it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .normalize import Aligned
from .steps import BLANK, WHITE, Step
from .template import Template

NOT_WHITE = re.compile(f"[^{WHITE}]+")
BEFORE_BLANK = re.compile(f"{BLANK}?[^{BLANK}]+|{BLANK}")


@dataclass(frozen=True)
class Words:
    """How a normalized text falls into words, which are cut into pieces one by one; without arguments it is one word.

    at_white: split at white space, which is dropped.
    blank: "always" or "first" (the text's first only) puts ▁ before a word that has none, "never" does not; with any
        of them a space is a ▁, too.
    at_blank: split before each ▁.
    """

    at_white: bool = False
    blank: str | None = None
    at_blank: bool = False

    def of(self, whole: Aligned, first: bool = True) -> list[Aligned]:
        """first: whether a text begins here, and not a stretch of it behind a token that was cut out."""
        parts = [whole] if whole.text else []
        if self.at_white:
            parts = [whole.part(*found.span()) for found in NOT_WHITE.finditer(whole.text)]
        if self.blank:
            parts = [self.with_blank(part, first) for part in parts]
        if self.at_blank:
            parts = [part.part(*found.span()) for part in parts for found in BEFORE_BLANK.finditer(part.text)]
        return parts

    def with_blank(self, part: Aligned, first: bool) -> Aligned:
        part = Aligned(part.text.replace(" ", BLANK), part.spans)
        wanted = self.blank == "always" or (self.blank == "first" and first and part.spans[0][0] == 0)
        if part.text[0] == BLANK or not wanted:
            return part
        return Aligned(BLANK + part.text, [part.spans[0], *part.spans])

    def of_text(self, text: str) -> list[str]:
        """The same without places, of a text that begins with the original's first character."""
        parts = NOT_WHITE.findall(text) if self.at_white else [text] if text else []
        if self.blank:
            parts = [part.replace(" ", BLANK) for part in parts]
        if self.blank in ("always", "first"):
            some = parts if self.blank == "always" else parts[:1]
            parts[: len(some)] = [part if part[0] == BLANK else BLANK + part for part in some]
        if self.at_blank:
            parts = [word for part in parts for word in BEFORE_BLANK.findall(part)]
        return parts


@dataclass(frozen=True)
class Recipe:
    """What a file says of a tokenizer, whichever kind of file it is.

    vocabulary: the tokens; a token's id is its place.
    scores: log probabilities of those that can be found in a text.
    joins: whether neighbouring unknown characters are one unknown piece, also where they become bytes.
    cut_out: tokens that are found in the text as it is given, before all else.
    strips_left: special tokens that, where they are asked for, take the white space before them with them.
    """

    vocabulary: list[str]
    scores: Mapping[str, float]
    unknown: float  # the log probability of a character that is unknown
    sums: str  # "f" or "d", see `Unigram`
    steps: Sequence[Step]
    words: Words
    byte_fallback: bool
    joins: bool
    cut_out: Sequence[str] = ()
    strips_left: Sequence[str] = ()


@dataclass(frozen=True)
class Read:
    """A tokenizer as it stands in a file: its recipe, its special tokens by name, and where they stand."""

    recipe: Recipe
    special_tokens: Mapping[str, str]
    template: Template[str]
