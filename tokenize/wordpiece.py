"""Word → pieces that the vocabulary knows: WordPiece, or single characters.

WordPiece: Schuster & Nakajima 2012, "Japanese and Korean Voice Search", section 4; Wu et al. 2016, arXiv:1609.08144,
section 4.1. Cutting a word is greedy: the longest piece of the vocabulary from the left, again and again; pieces
after the first are written with ## before them.
"""

import re
from collections.abc import Callable

from .encoding import Piece
from .normalize import Aligned

LONGEST_WORD = 100  # characters; a longer word is unknown, as in BERT's own code
WORDS_KEPT = 200_000
TEXT_END = -1  # the id of the empty word
CONTINUES = "##"  # before a piece that goes on with a word

WITHOUT_SPACE = re.compile(r"\S+")


def wordpiece(word: str, ids: dict[str, int], unknown: int) -> list[Piece]:
    """Cut a word into the longest pieces in `ids`; a word with a part that is not there is unknown as a whole.

    Whitespace inside the word (MeCab takes rare kinds of it for a word) parts it or vanishes.
    """
    pieces: list[Piece] = []
    for run in WITHOUT_SPACE.finditer(word):
        numbers, ends = longest_pieces(run[0], ids)
        places = [run.start() + end for end in (0, *ends)] if numbers else list(run.span())
        pieces += map(Piece, numbers or [unknown], places, places[1:])
    return pieces


def wordpiece_ids(word: str, ids: dict[str, int], unknown: int) -> tuple[int, ...]:
    """The ids of `wordpiece` alone, sooner."""
    return tuple(number for run in word.split() for number in longest_pieces(run, ids)[0] or [unknown])


def longest_pieces(run: str, ids: dict[str, int]) -> tuple[list[int], list[int]]:
    """The ids of the pieces that make up the run, and where each ends; none when that cannot be done."""
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
    return [
        Piece(ids.get(character, unknown), *span) for character, span in zip(normal.text, normal.spans, strict=True)
    ]


def character_ids(word: str, ids: dict[str, int], unknown: int) -> tuple[int, ...]:
    """The ids of `characters` alone."""
    return tuple(piece.id for piece in characters(word, ids, unknown))


class WordIds(dict[str, tuple[int, ...]]):
    """Word → ids, worked out when a word is first asked for and then kept.

    A text's words follow Zipf's law: a few thousand make up most of any corpus, and looking them up is many times
    faster than cutting them again. The empty word, which no text has, stands for a text's end and has an id that no
    token has.
    """

    def __init__(self, cut: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self.cut = cut

    def __missing__(self, word: str) -> tuple[int, ...]:
        if not word:
            return (TEXT_END,)
        ids = self.cut(word)
        if len(self) < WORDS_KEPT and len(word) <= LONGEST_WORD:
            self[word] = ids
        return ids

    def __reduce__(self) -> tuple[type["WordIds"], tuple[Callable[[str], tuple[int, ...]]]]:
        return WordIds, (self.cut,)  # what was kept stays behind: a worker soon has its own
