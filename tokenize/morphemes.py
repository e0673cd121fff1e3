"""Text → morphemes: the words of MeCab with their dictionary form (lemma) and part of speech (品詞).

Always by unidic-lite (Den et al. 2007, 日本語科学 22), whatever dictionary a model reads with.
"""

import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from .words import MecabWords

LEMMA = 7  # the field of UniDic's features; the four levels of 品詞 come first


class Morpheme(NamedTuple):
    """One word (形態素) of a text, all after NFKC.

    lemma: 語彙素, one for all forms and spellings: 無い for ない, なかっ and 無く; サービス where UniDic has
        サービス-service. The surface, for an unknown word.
    pos: the levels of its 品詞, largest first: 助詞-接続助詞.
    """

    surface: str
    lemma: str
    pos: str


@cache
def mecab() -> MecabWords:
    return MecabWords("unidic_lite", option=None, normalize=True, lower=False)


def morphemes(text: str) -> list[Morpheme]:
    """The morphemes of a text, split as by `MecabWords`."""
    return [morpheme(surface, features) for surface, features in mecab().nodes(mecab().normal(text))]


@lru_cache(maxsize=1 << 16)
def morpheme(surface: str, features: tuple[str, ...]) -> Morpheme:
    lemma = features[LEMMA].split("-")[0] if len(features) > LEMMA else ""  # an unknown word has few features
    pos = "-".join(level for level in features[:4] if level != "*")
    return Morpheme(surface, normal(lemma or surface), normal(pos))


def normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
