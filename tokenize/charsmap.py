"""SentencePiece's precompiled character map: which characters become which (nmt_nfkc, nfkc, lower case, or its own).

A map is 4 bytes, the size of a trie; the trie, a double array of 32-bit units in the form of darts-clone (Yata et al.
2007, "A compact static double-array keeping character codes"); and the replacements, each ended by a NUL. A unit that
is a node has its label in bits 0 to 7, "has a leaf" in bit 8, and in bits 10 to 30 the offset to its children, shifted
by 8 more where bit 9 is set: the child with label c is at node ^ offset ^ c, the leaf at node ^ offset. A leaf has bit
31, and the place of its replacement in the others.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from .normalize import Aligned
from .steps import Parts, Step

LABEL, LEAF = 0x800000FF, 0x100
# What Unicode counts to the grapheme of the character before it, beside combining marks (UAX #29, GB9 and GB9a).
EXTENDING = "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f\U0001f3fb-\U0001f3ff"
BEFORE_ITS_LETTER = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"  # GB9b
ALONE = r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # GB4, GB5
PARTS_KEPT, SHORT = 1 << 16, 16  # stretches, and the characters of the longest that is kept
GRAPHEME = 6  # bytes; `tokenizers` reads longer graphemes character by character


class CharacterMap(Step):
    """The rules of a map.

    graphemes: applied as the library `tokenizers` does. There the rule for the *shortest* beginning stands for a whole
        short grapheme (①́ becomes 1, and its accent is lost), and longer ones are read character by character. Else the
        rule for the longest beginning, again and again, as SentencePiece does.

    Raises ValueError where the map is broken.
    """

    def __init__(self, blob: bytes, graphemes: bool) -> None:
        size = int.from_bytes(blob[:4], "little")
        if not size or size % 4 or len(blob) <= 4 + size or blob[-1]:
            raise ValueError("its character map is broken")
        self.graphemes = graphemes
        self.units = np.frombuffer(blob, dtype="<u4", offset=4, count=size // 4).tolist()
        self.values = blob[4 + size :]
        starts = {0, *(found.end() for found in re.finditer(b"\0", self.values))}  # of replacements
        try:
            self.values.decode("utf-8")
            characters = characters_of(np.array(self.units), starts)
        except (ValueError, IndexError) as error:
            raise ValueError("its character map is broken") from error
        singles, later = (one_of(found, 0x10000) for found in characters)
        if graphemes:
            later = EXTENDING + marks(0x10000)
        anything = widely(singles + later + BEFORE_ITS_LETTER + "\r")
        before = rf"\r\n|[{BEFORE_ITS_LETTER}]+(?:\r\n|(?s:.))?{widely(later)}*|" if graphemes else ""
        # (what no rule changes) (what one may change), again and again: Python searches a large class slowly, but
        # repeats it fast. A rule of several characters goes on only with those of `later`.
        self.stretches = re.compile(
            f"([^{anything[1:]}*+)({before}{widely(singles)}{widely(later)}*|{widely(later)}+|$)"
        )
        self.goes_on = re.compile(widely(later))
        self.kept: dict[str, Parts] = {}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"kept": {}}

    def changes(self, text: str) -> Iterator[tuple[int, int, Parts]]:
        """What may change: from where, to where, and into what."""
        for found in self.stretches.finditer(text):
            start, end = found.span(2)
            if start < end:
                # With the character before it, where a rule may begin there.
                start -= start > found.start() and self.goes_on.match(text, start) is not None
                yield start, end, self.parts(text[start:end])

    def aligned(self, whole: Aligned) -> Aligned:
        """What is dropped before the first character belongs to it, so that `tokenizers` takes that for the first."""
        new = super().aligned(whole)
        if self.graphemes and new.text and new.spans[0] != whole.spans[0]:
            new.spans[0] = whole.spans[0][0], new.spans[0][1]
        return new

    def parts(self, text: str) -> Parts:
        """What a stretch becomes; short ones are kept, since a few make up most of any corpus."""
        parts = self.kept.get(text)
        if parts is None:
            parts = (self.by_grapheme if self.graphemes else self.longest)(text)
            if len(text) <= SHORT:
                if len(self.kept) >= PARTS_KEPT:
                    self.kept.clear()
                self.kept[text] = parts
        return parts

    def rules(self, text: bytes, start: int = 0) -> Iterator[tuple[int, str]]:
        """The rules for what begins at `start`, the shortest first: where it ends, and its replacement."""
        at = offset_of(self.units[0])
        for i in range(start, len(text)):
            at ^= text[i]
            if at >= len(self.units) or self.units[at] & LABEL != text[i]:
                return
            unit = self.units[at]
            at ^= offset_of(unit)
            if unit & LEAF:
                place = self.units[at] & 0x7FFFFFFF
                yield i + 1, self.values[place : self.values.index(0, place)].decode("utf-8")

    def longest(self, text: str) -> Parts:
        found: Parts = []
        written, at, start = text.encode("utf-8"), 0, 0  # at: in characters; start: in bytes
        while at < len(text):
            itself = text[at], start + len(text[at].encode("utf-8"))
            *_, (new, end) = [itself, *((new, end) for end, new in self.rules(written, start))]
            size = len(written[start:end].decode("utf-8"))
            found.append((new, size))
            at, start = at + size, end
        return found

    def by_grapheme(self, text: str) -> Parts:
        found: Parts = []
        for one in grapheme().findall(text):
            short = len(one.encode("utf-8")) < GRAPHEME
            for part in [one] if short and self.shortest(one) is not None else one:
                new = self.shortest(part)
                found.append((part if new is None else new, len(part)))
        return found

    def shortest(self, text: str) -> str | None:
        return next((new for _, new in self.rules(text.encode("utf-8"))), None)


def offset_of(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def characters_of(units: np.ndarray, starts: set[int]) -> tuple[set[str], set[str]]:
    """The characters that have a rule of their own, and those that stand in a rule after its first character.

    Breadth first through the trie; nodes that several keys share are read once. ValueError or IndexError where a rule
    does not end with a character, or has no replacement that begins at one of `starts`.
    """
    singles: set[int] = set()
    later: set[int] = set()
    letters = np.arange(1, 256)
    # (n, 4): node, the code point so far, how many bytes it still lacks, whether it is the first of its key
    states = np.array([[0, 0, 0, 1]])
    seen: set[bytes] = set()
    while len(states):
        nodes = states[:, 0]
        children = (nodes ^ offset_of_many(units[nodes]))[:, None] ^ letters  # (n, 255)
        inside = children < len(units)
        parents, columns = np.nonzero(inside & (units[np.where(inside, children, 0)] & LABEL == letters))
        byte, (_, code, lack, first) = letters[columns], states[parents].T
        begins = lack == 0
        more = (byte >= 0xC0).astype(int) + (byte >= 0xE0) + (byte >= 0xF0)  # bytes after this one
        code = np.where(begins, np.where(more > 0, byte & (0x3F >> more), byte), code << 6 | byte & 0x3F)
        lack = np.where(begins, more, lack - 1)
        nodes = children[parents, columns]
        whole = lack == 0
        later.update(code[whole & (first == 0)].tolist())
        singles.update(code[whole & (first == 1) & (units[nodes] & LEAF > 0)].tolist())
        ends = units[nodes] & LEAF > 0
        places = units[nodes[ends] ^ offset_of_many(units[nodes[ends]])] & 0x7FFFFFFF
        if not whole[ends].all() or not starts.issuperset(places.tolist()):
            raise ValueError("a rule has no end")
        states = np.unique(np.stack([nodes, np.where(whole, 0, code), lack, first & ~whole], axis=1), axis=0)
        new = [state.tobytes() not in seen for state in states]
        states = states[new]
        seen.update(state.tobytes() for state in states)
    if max(singles | later, default=0) > 0x10FFFF:
        raise ValueError("a rule has no character")
    return {chr(code) for code in singles}, {chr(code) for code in later}


def offset_of_many(units: np.ndarray) -> np.ndarray:
    return (units >> 10) << ((units & 0x200) >> 6)


@cache
def marks(most: int = 0x110000) -> str:
    return one_of({c for c in map(chr, range(0x300, most)) if unicodedata.category(c) in ("Mn", "Mc", "Me")})


@cache
def grapheme() -> re.Pattern[str]:
    """Unicode's rules, but for those of Hangul, flags and joined emoji: what they join has six bytes or more."""
    extending = f"[{EXTENDING}{marks()}]*"
    return re.compile(f"\r\n|[{BEFORE_ITS_LETTER}]*[^{ALONE}]{extending}|[{ALONE}{BEFORE_ITS_LETTER}]")


def widely(characters: str) -> str:
    """A class of a regular expression with these characters, and with all beyond the first 65,536, for speed."""
    return f"[{characters}\U00010000-\U0010ffff]"


def one_of(characters: set[str], most: int = 0x110000) -> str:
    """The inside of a class of a regular expression, in which neighbours are joined to ranges."""
    ranges: list[list[int]] = []
    for code in sorted(code for code in map(ord, characters) if code < most):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in ranges)
