"""Morphemes: surface, lemma and 品詞 of UniDic, for texts of any length and with any character."""

import pytest

from tezukuri.tokenize.morphemes import Morpheme, morphemes
from tezukuri.tokenize.words import LONGEST_TEXT, MecabWords


def test_a_morpheme_has_its_surface_its_lemma_and_its_part_of_speech():
    assert morphemes("静かではなかったが") == [
        Morpheme("静か", "静か", "形状詞-一般"),
        Morpheme("で", "だ", "助動詞"),
        Morpheme("は", "は", "助詞-係助詞"),
        Morpheme("なかっ", "無い", "形容詞-非自立可能"),
        Morpheme("た", "た", "助動詞"),
        Morpheme("が", "が", "助詞-接続助詞"),
    ]


@pytest.mark.parametrize(
    ("text", "lemmas"),
    [
        ("無い ない なかった 無く", ["無い", "無い", "無い", "た", "無い"]),
        ("サービス", ["サービス"]),  # サービス-service in the dictionary
        ("百円", ["百", "円"]),  # 円-助数詞
        ("ｻｰﾋﾞｽ！", ["サービス", "!"]),  # NFKC of the text, and of the lemma ！
        ("ヌベラッチョ", ["ヌベラッチョ"]),  # not in the dictionary
        ("zzyzx-", ["zzyzx", "-"]),
        ("よい(^^)", ["良い", "(^^)"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_lemmas(text: str, lemmas: list[str]):
    assert [morpheme.lemma for morpheme in morphemes(text)] == lemmas


def test_surfaces_are_the_words_of_the_tokenizer():
    split = MecabWords("unidic_lite", option=None, normalize=True, lower=False)
    for text in (
        "駅から近くて便利でした。",
        "前\0後",
        "半分\ud800だけ",
        "ＡＢＣ㍿\x1fです",
        "あ" * 99 + "。",
        "e\u0301",
    ):
        assert [morpheme.surface for morpheme in morphemes(text)] == split(text)


def test_nothing_is_lost_after_a_nul_or_in_a_long_text():
    assert [morpheme.surface for morpheme in morphemes("前\0部屋")] == ["前", "部屋"]
    long = "部屋が広い。" * (LONGEST_TEXT // 6 + 100)
    assert "".join(morpheme.surface for morpheme in morphemes(long)) == long


def test_the_morphemes_of_a_long_text_are_those_of_its_parts(monkeypatch):
    """MeCab writes the words of its next text over those of the last."""
    sentences = ["部屋が広かったです。", "駅から近くて便利だ。"]
    split = MecabWords("unidic_lite", option=None, normalize=True, lower=False)
    alone = [morphemes(sentence) for sentence in sentences]
    kinds = [[kind for _, kind in split.tagged(sentence)] for sentence in sentences]
    nodes = [list(split.nodes(sentence)) for sentence in sentences]
    assert len({len(sentence) for sentence in sentences}) == 1
    monkeypatch.setattr("tezukuri.tokenize.words.LONGEST_TEXT", len(sentences[0]))
    assert morphemes("".join(sentences) * 20) == [*alone[0], *alone[1]] * 20
    assert [kind for _, kind in split.tagged("".join(sentences) * 20)] == [*kinds[0], *kinds[1]] * 20
    assert list(split.nodes("".join(sentences) * 20)) == [*nodes[0], *nodes[1]] * 20
