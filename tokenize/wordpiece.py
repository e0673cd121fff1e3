"""Word → pieces that the vocabulary knows: WordPiece, or single characters.

WordPiece: Schuster & Nakajima 2012, "Japanese and Korean Voice Search", section 4; Wu et al. 2016, arXiv:1609.08144,
section 4.1. Cutting a word is greedy: the longest piece of the vocabulary from the left, again and again; pieces
after the first are written with ## before them.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from .normalize import Aligned

LONGEST_WORD = 100  # characters; a longer word is unknown, as in BERT's own code
WORDS_KEPT = 200_000
TEXT_END = -1  # the id of the empty word

WITHOUT_SPACE = re.compile(r"\S+")


class Piece(NamedTuple):
    """A token's id, and the characters of the word that it covers."""

    id: int
    start: int
    end: int


def wordpiece(word: str, ids: dict[str, int], unknown: int) -> list[Piece]:
    """Cut a word into the longest pieces in `ids`; a word with a part that is not there is unknown as a whole.

    Whitespace inside the word (MeCab takes rare kinds of it for a word) parts it or vanishes.
    """
    pieces: list[Piece] = []
    for run in WITHOUT_SPACE.finditer(word):
        pieces.extend(longest_pieces(word, *run.span(), ids) or [Piece(unknown, *run.span())])
    return pieces


def longest_pieces(word: str, first: int, last: int, ids: dict[str, int]) -> list[Piece]:
    """Pieces that cover characters first to last of the word, or none when that cannot be done."""
    if last - first > LONGEST_WORD:
        return []
    pieces: list[Piece] = []
    start = first
    while start < last:
        before = "##" if start > first else ""
        for end in range(last, start, -1):
            found = ids.get(before + word[start:end])
            if found is not None:
                pieces.append(Piece(found, start, end))
                break
        else:
            return []
        start = end
    return pieces


def characters(word: str, ids: dict[str, int], unknown: int) -> list[Piece]:
    """Every character (after NFKC) a piece, unknown where it is not in `ids`."""
    normal = Aligned.of(word).normalize("NFKC")
    return [
        Piece(ids.get(character, unknown), *span) for character, span in zip(normal.text, normal.spans, strict=True)
    ]


class WordIds(dict[str, tuple[int, ...]]):
    """Word → ids, worked out when a word is first asked for and then kept.

    A text's words follow Zipf's law: a few thousand make up most of any corpus, and looking them up is many times
    faster than cutting them again. The empty word, which no text has, stands for a text's end and has an id that no
    token has.
    """

    def __init__(self, pieces: Callable[[str], list[Piece]]) -> None:
        super().__init__()
        self.pieces = pieces

    def __missing__(self, word: str) -> tuple[int, ...]:
        if not word:
            return (TEXT_END,)
        ids = tuple(piece.id for piece in self.pieces(word))
        if len(self) < WORDS_KEPT and len(word) <= LONGEST_WORD:
            self[word] = ids
        return ids

    def __reduce__(self) -> tuple[type["WordIds"], tuple[Callable[[str], list[Piece]]]]:
        return WordIds, (self.pieces,)  # what was kept stays behind: a worker soon has its own
