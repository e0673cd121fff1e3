"""Word → pieces of the vocabulary: WordPiece, or single characters.

WordPiece is greedy: the longest piece of the vocabulary from the left, again and again; pieces after the first are
written with ## before them. Schuster & Nakajima 2012, "Japanese and Korean Voice Search", section 4; Wu et al. 2016,
arXiv:1609.08144, section 4.1.
"""

import re
from collections.abc import Callable

from .encoding import Piece
from .normalize import Aligned

LONGEST_WORD = 100  # characters; a longer word is unknown, as in BERT's own code
WORDS_KEPT = 200_000
TEXT_END = -1  # the id of the empty word
CONTINUES = "##"  # before a piece that continues a word
WITHOUT_SPACE = re.compile(r"\S+")


def wordpiece(word: str, ids: dict[str, int], unknown: int) -> list[Piece]:
    """Split a word into the longest pieces in `ids`; a word with a part that is not there is unknown as a whole.

    Whitespace inside the word (MeCab takes rare kinds of it for words) separates its parts, or is dropped.
    """
    pieces: list[Piece] = []
    for run in WITHOUT_SPACE.finditer(word):
        numbers, ends = longest_pieces(run[0], ids)
        places = [run.start() + end for end in (0, *ends)] if numbers else list(run.span())
        pieces += map(Piece, numbers or [unknown], places, places[1:])
    return pieces


def wordpiece_ids(word: str, ids: dict[str, int], unknown: int) -> tuple[int, ...]:
    """The ids of `wordpiece` alone, faster."""
    return tuple(number for run in word.split() for number in longest_pieces(run, ids)[0] or [unknown])


def longest_pieces(run: str, ids: dict[str, int]) -> tuple[list[int], list[int]]:
    """The ids of the pieces that make up the run, and where each ends; empty where there are none."""
    numbers: list[int] = []
    ends: list[int] = []
    if len(run) > LONGEST_WORD:
        return numbers, ends
    start, before = 0, ""
    while start < len(run):
        for end in range(len(run), start, -1):
            found = ids.get(before + run[start:end])
            if found is not None:
                numbers.append(found)
                ends.append(end)
                break
        else:
            return [], []
        start, before = end, CONTINUES
    return numbers, ends


def characters(word: str, ids: dict[str, int], unknown: int) -> list[Piece]:
    """Every character (after NFKC) a piece, unknown where it is not in `ids`."""
    normal = Aligned.of(word).normalize("NFKC")
    found = (ids.get(character, unknown) for character in normal.text)
    return [Piece(number, *span) for number, span in zip(found, normal.spans, strict=True)]


def character_ids(word: str, ids: dict[str, int], unknown: int) -> tuple[int, ...]:
    return tuple(piece.id for piece in characters(word, ids, unknown))


class WordIds(dict[str, tuple[int, ...]]):
    """Word → ids, kept once they are found: a few thousand words make up most of any corpus (Zipf's law).

    The empty word, which no text has, stands for a text's end: its id is TEXT_END.
    """

    def __init__(self, to_ids: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self.to_ids = to_ids

    def __missing__(self, word: str) -> tuple[int, ...]:
        if not word:
            return (TEXT_END,)
        ids = self.to_ids(word)
        if len(self) < WORDS_KEPT and len(word) <= LONGEST_WORD:
            self[word] = ids
        return ids

    def __reduce__(self) -> tuple[type["WordIds"], tuple[Callable[[str], tuple[int, ...]]]]:
        return WordIds, (self.to_ids,)  # pickled without what was kept
