"""Slices: what each rule takes and leaves, the language of patterns, and the tables of planted and of random errors."""

import random
import re
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact

from tezukuri.data.dataset import DataError
from tezukuri.eval.failures.slices import (
    BLAME,
    PRAISE,
    PROBLEM,
    RULES,
    Text,
    built_in,
    conditions,
    least,
    lemmas_and_pos,
    normal,
    pattern,
    read,
    read_rules,
    search,
    table,
    tag,
)
from tezukuri.eval.statistics import holm
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.morphemes import morphemes

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENIZER = JapaneseTokenizer([*SPECIALS, "部屋", "が", "狭い", "。"])
RULE = {rule.name: rule for rule in RULES}


def text_of(text: str, length: int = 10, unknown: int = 0) -> Text:
    return Text(normal(text), morphemes(text), length, unknown)


# --- rules ------------------------------------------------------------------------------------------------------

HAVE = {
    "negation": """
        味は良くない。 朝食は付いていません。 声もかけずに通り過ぎた。 二度と行かぬ。 湯が熱くて入れなかった。
        冷蔵庫は無い。 窓が開かん。 椅子なし。 ないと困る。 味は悪くはありませんでした。 少ないし、足りない。
        もったいないとは思わない。 かもしれないが、行かない。
    """,
    "negated problem": """
        問題なし。 特に問題ないです。 文句なしの味。 不満はない。 不満な点は特にありませんでした。 悪くない。
        文句のつけようがない。 言うことなし！ 言うことはありません。 音は気にならない。 隣の声も気になりませんでした。
        何の不自由もなく過ごせた。 非の打ち所がない。 道にも迷わず着いた。 申し分のない宿。 うるさくなかった。
        不満に思うことはない。 不便を感じない。 不安になることもなかった。 違和感がない。 文句を言うことはない。
        問題とはならない。 悪いところはない。 困りはしなかった。 客を飽きさせない。 問題は全くない。 文句は何もない。
        不満は全然ない。 狭さは問題ではない。 気にはならない。 文句は言わない。 不便にはならない。 不足はない。
        不快ではない。 心配はない。 欠点がない。 難点もない。 苦情もない。 遜色ない。 ストレスがない。
        気兼ねなく過ごせた。 迷惑ではない。 失礼もない。 嫌ではない。 臭くない。 期待を裏切らない。 間違いない宿。
    """,
    "double negation": """
        行けなくはない。 ないわけではありません。 おいしくないことはない。 できなくもない。 高くないとは言えない。
        分からないでもない。 行けないのではない。 直せないものでもない。 来ないとは限らない。
    """,
    "concession": """
        狭いが、清潔だ。 古いけど落ち着く。 高いけれど満足です。 駅から遠いですが。 食べたものの、味は普通。
        古いものの手入れは良い。 風呂以外は満足。 しかし高い。 ただ、壁が薄い。 ただし有料。 でも安い。
        遠い。でも安い。 けれども寒い。 が、狭い。 毎日使うものの、重い。 食べたものの味は普通。
    """,
    "wish": """
        また来たい。 もう泊まりたくない。 住みたくなる宿だ。 次回も利用させていただきたいです。
    """,
    "request": """
        もっと早く知らせてほしい。 湯飲みが欲しかった。 改善していただきたい。 数を増やしてもらいたいです。
        ぜひ直してください。 ご検討下さい。 もっと広いといいです。 駅に近ければ良いと思う。 あと一品あったら嬉しい。
        もう少し安ければなぁ。 窓が大きかったらなあ。 もう少し静かであれば。 掃除をお願いします。 改善を願う。
        お願いしたいです。 早く開けていただけると助かる。 値下げ希望。 笑顔を見せてもらいたい。
        安くなるともっと嬉しいです。 直してくださいね。 ぜひ直してください もう少し安ければ。 椅子があると有り難い。
        改善を要望します。 お願いしたいと思います。 説明をお願いします。 改善を希望したいと思う。 改善が希望です。
    """,
    "greeting or thanks": """
        ありがとうございました。 有難う！ 大変お世話になりました。 お世話様でした。 感謝しています。
        ごちそうさまでした。 お礼を申し上げます。 よろしくお願いします。 今後ともよろしく。 こんにちは。
        お疲れ様でした。 こんばんは。 おはようございます。 さようなら。
    """,
    "existence": """
        売店もありました。 近くに川がある。 庭に猫がいた。 親切な店員さんがいました！ 電子レンジも二階にあります。
        図書室がございました。 坂がある♪ 売店も三軒ある。 庭に猫がたくさんいた。 売店もお隣にある。
        先客が二人いた。 客も三人いた。
    """,
    "fragment": """
        最高の眺め。 朝食も。 駅から徒歩で。 迷うことなく到着！ 駅前のホテル(笑) 次はぜひ家族と♪ 夕食はまあまあ。
        おもてなしはさすが。 広い部屋。窓も大きかった。 これ。 すてきな女将さん。 料理長さんへ。 ゆっくりと。 朝食だけ。
        ただ…。
    """,
    "exclamation mark": """
        最高！ えっ!と思った。 安い‼
    """,
    "emoticon": """
        また来ます♪ ☆五つ 食べすぎた(笑) ふとった（汗） 楽しかったw よかったです(^^) わーい＼(^o^)／ 残念(T_T)
        おいしかった(´▽｀) 行きます😊 すみませんm(__)m もう無理orz 遅刻(爆) 満席(泣)
    """,
    "number": """
        三回泊まった。 ２階の部屋。 料金は一万二千円。 15時に着いた。 一つだけ残念。 一人で来た。 二人の記念日。
    """,
    "positive word": """
        おいしかったです。 キレイな部屋。 大満足！ とても気に入りました。 お薦めです。 よくない。 くつろげる。
    """,
    "negative word": """
        がっかりしました。 うるさい。 部屋がきたない。 物足りない量。 店員が無愛想。 問題はない。 シミがある。
    """,
    "both polarities": """
        狭いけど清潔。 料理は良かったのに残念。
    """,
}
HAVE_NOT = {
    "negation": """
        種類が少ない。 きたない風呂。 切ない味。 もったいない。 すみません。 申し訳ない気がした。 申し訳ありません。
        混むかもしれない。 雨かもしれません。 話がつまらない。 たまりません！ 雨にもかかわらず混んでいた。
        梨を食べた。 相変わらず元気だ。 思わず笑った。 味だけではなく量も良い。 量だけでなく味も。
        早起きしなければならない。 なんとなく好き。 まずまずの味。 おもてなしが良い。 幼い子と来た。 何気ない一言。
        並ばざるを得ない。 仕方がない。 無人の店。 遠いのではないかと思う。 払わないといけない。 必ず行く。
        とんでもない値段だ。 しょうがない。 遠いのではないでしょうか。 これで十分じゃないか。 高級な宿ではないか。
        行かなくてはならない。 払わないといけません。 並ばざるを得ません。 やむを得ず断った。
    """,
    "negated problem": """
        問題がある。 不満です。 良くない。 風呂がない。 問題は鍵が無いこと。 出る気になれない。
        不満だが、二度と行かない。 言うことが違う。 文句を言った。 自由がない。 迷った。
    """,
    "double negation": """
        可もなく不可もなく。 行かなければならない。 並ばざるを得ない。 払わないといけない。 味も無く、香りも無い。
        高くない。 歩かないと無い。 湯が無い。茶も無い。
    """,
    "concession": """
        日当たりがいい。 犬がいる。 歩きながら食べた。 何でも揃う。 ただで飲める。 ただの水。 本物の味。 食べ物の味。
        我が家。 友人が、来た。 どこでもいい。 以外と安い。 店員がいい感じ。 新しい建物の中。 バスでも行ける。
        ものの五分で着く。 また行く。 そして寝た。
    """,
    "wish": """
        眠たい。 冷たい水。 平たい皿。 だいたい分かる。 改善していただきたい。 冷たかった。 直してもらいたい。
    """,
    "request": """
        また来たい。 料理といい、接客といい、最高。 上がると良い眺めだった。 案内してくださいました。
        笑顔で迎えて下さった。 荷物をお願いしましたが、断られた。 機会があれば。 よろしくお願いします。
        お願いを一つ聞いてくれた。 量といい味といい文句なし。 利用させていただきたいです。 安くて嬉しい。
        湯を希望しました。 見れば分かる。 何でも教えて下さる。 駅前であれば歩ける。 着いたら良い部屋だった。
    """,
    "greeting or thanks": """
        ありがたい湯だ。 世話好きな女将。 お茶がおいしい。 礼儀正しい。 今日は寒い。 有り難みが分かる。
        女将によろしく伝えた。
    """,
    "existence": """
        売店はありません。 鍵がありませんでした。 売店もあり便利。 行ったことがある。 清潔感があります。
        窓があるので明るい。 あるホテルに泊まった。 問題がなかった。 並んでいる。 猫がいるといいな。
    """,
    "fragment": """
        良い宿だ。 広かったです。 快適。 とても残念！ 満足。 近くていいかも。 また来ます(笑) 楽しいよね♪ 安いのに。
        遠いけど。 ありがとう。 美しい。 かわいい(o^^o) 着いた。 部屋が広い。
    """,
    "exclamation mark": """
        最高。 本当？
    """,
    "emoticon": """
        最高！ Wi-Fiが速い。 (土日) www.example.comを見た 笑顔が良い。 ※有料 ・風呂 町(村)
    """,
    "number": """
        十分です。 一番良い。 家族と一緒に。 何度も行く。 千葉から来た。 万全の準備。 数回行った。 唯一の店。
        一般の客。
    """,
    "positive word": """
        普通です。 部屋にいる。 気になる。 不便。
    """,
    "negative word": """
        良い。 足りる。 親切。 広い。 十分。
    """,
    "both polarities": """
        狭い。 清潔。 普通。
    """,
}


def test_every_rule_has_sentences_here():
    assert set(HAVE) == set(HAVE_NOT) == set(RULE) - {"unknown token"}


@pytest.mark.parametrize("name", HAVE)
def test_a_rule_takes_the_sentences_that_have_it_and_leaves_those_that_have_not(name: str):
    have, have_not = HAVE[name].split(), HAVE_NOT[name].split()
    assert [text for text in have + have_not if RULE[name].holds(text_of(text))] == have


def test_every_rule_says_what_it_is():
    rules = built_in([1, 2])
    assert len({rule.name for rule in rules}) == len({rule.gloss for rule in rules}) == len(rules) == 18
    assert all(rule.description for rule in rules)


def test_lists_of_words_are_written_as_the_dictionary_writes_lemmas():
    for words in (PRAISE, BLAME, PROBLEM):
        listed = words.removeprefix("lemma=").split("|")
        spelled = [{"快い": "快く", "煩い": "うるさい"}.get(word, word) for word in listed]
        assert [[morpheme.lemma for morpheme in morphemes(word)] for word in spelled] == [[word] for word in listed]
        assert len(set(listed)) == len(listed)


def test_length_and_unknown_tokens_are_those_of_the_tokenizer():
    short, unknown = read(["部屋が狭い。", "部屋が広い。" * 9], TOKENIZER)
    assert (short.length, short.unknown) == (4, 0) and (unknown.length, unknown.unknown) == (36, 9)
    assert read(["２階！"], TOKENIZER)[0].text == "2階!"
    assert not RULE["unknown token"].holds(short) and RULE["unknown token"].holds(unknown)


def test_short_and_long_are_the_outer_quarters():
    texts = [text_of("", length) for length in range(1, 9)]
    short, long = tag(texts, built_in([text.length for text in texts])[:2]).values()
    assert short.tolist() == [True] * 2 + [False] * 6
    assert long.tolist() == [False] * 6 + [True] * 2


def test_texts_of_any_kind_can_be_tagged():
    texts = [
        "",
        "\0",
        "前\0部屋が無い",
        "半分\ud800",
        "a\tb\nc\v\r\x85\u2028d\t",
        "|||***,,,===",
        "部屋が無い。" * 9000,
    ]
    seen = read(texts, TOKENIZER)
    assert all(text.table.count("\t") == 2 * text.table.count("\n") == 2 * len(text.morphemes) for text in seen)
    tags = tag(seen, RULES)
    assert tags["negation"].tolist() == [False, False, True, False, False, False, True]


# --- patterns ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "have", "have_not"),
    [
        ("lemma=部屋 pos=助詞 lemma=狭い", "部屋は狭かった", "部屋はとても狭かった"),
        ("lemma=部屋 * lemma=狭い", "部屋は狭い", "部屋はやや狭い"),
        ("lemma=部屋 … lemma=狭い", "部屋はとても狭い", "狭い部屋"),
        ("lemma=部屋 ... lemma=狭い", "部屋狭い", "部屋は良い。庭は狭い"),
        ("lemma=部屋 …pos=助詞|副詞 lemma=狭い", "部屋はとても狭い", "部屋は良いが狭い"),
        ("lemma=部屋 ?pos=助詞 lemma=狭い $", "部屋狭い！", "部屋がとても狭い"),
        ("surface=なかっ", "狭くなかった", "狭くない"),
        ("surface!=部屋,pos=名詞", "部屋と庭", "部屋が狭い"),
        ("lemma=狭い|広い", "広い", "高い"),
        ("lemma=*店", "洋食店", "店員"),
        ("pos=助詞-接続助詞,lemma!=て", "狭いけど良い", "狭くて良い"),
        ("pos=名詞-普通名詞", "部屋", "三"),
        ("pos=名詞-普", "", "部屋"),
        ("^ lemma=部屋", "広い！部屋", "広い部屋"),
        ("lemma=部屋 $", "広い部屋。静か", "部屋が広い"),
        ("lemma=部屋 & lemma=狭い", "狭い。いい部屋", "部屋"),
        ("lemma=ｻｰﾋﾞｽ　lemma=良い", "サービス良い", "サービスが良い"),
        ("surface=! ", "良い！", "良い"),
        ("lemma=,", "広い,静か", "広い"),
        ("lemma=(", "(広い", "広い"),
        ("len>9", "十", ""),
        ("len=10", "十", ""),
        ("len=9", "", "十"),
        ("len<10", "", "十"),
        ("len>=10 lemma=部屋 len<=10", "部屋", "庭"),
        ("len<11 & lemma=部屋", "部屋", "庭"),
    ],
)
def test_a_pattern(written: str, have: str, have_not: str):
    holds = pattern(written)
    assert not have or holds(text_of(have))
    assert not holds(text_of(have_not, length=10 if have_not else 3))


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("lemma=部屋 & ", "is empty"),
        ("部屋", "'部屋' is no condition"),
        ("…部屋", "'...部屋' is no condition"),
        ("?", "'?' is no condition"),
        ("lemma=", "'lemma=' is no condition"),
        ("lemma=a|", "'lemma=a|' is no condition"),
        ("lemma=a,pos=", "'lemma=a,pos=' is no condition"),
        ("lemma=部屋 word=x", "'word=x' is no condition"),
        ("len>x", "'len>x' is no condition"),
        ("len=>3", "'len=>3' is no condition"),
        ("?len>3", "'?len>3' is no condition"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_refused(written: str, fault: str):
    with pytest.raises(ValueError, match=re.escape(fault)):
        pattern(written)


def file_of(folder: Path, content: str | bytes) -> Path:
    path = folder / "slices.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rules_of_a_file(tmp_path: Path):
    path = file_of(
        tmp_path,
        "\ufeff# mine\r\n\r\nsmall room\tlemma=部屋 pos=助詞 lemma=狭い\t狭い部屋\r\n"
        "small room\tlemma=狭い lemma=部屋\nlong\u3000one\tlen>30",
    )
    small, long = read_rules(path)
    assert (small.name, small.gloss) == ("small room", "狭い部屋")
    assert small.description == "lemma=部屋 pos=助詞 lemma=狭い or lemma=狭い lemma=部屋"
    texts = [text_of("部屋が狭い"), text_of("狭い部屋"), text_of("広い部屋", length=31)]
    assert [small.holds(text) for text in texts] == [True, True, False]
    assert (long.name, long.gloss) == ("long\u3000one", "") and tag(texts, [long])["long\u3000one"].tolist() == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("small room lemma=部屋", "write name, tab, pattern"),
        ("\tlemma=部屋", "write name, tab, pattern"),
        ("a\tlemma=部屋\tb\tc", "write name, tab, pattern"),
        ("negation\tlemma=部屋", "'negation' is a built-in rule"),
        ("short\tlemma=部屋", "'short' is a built-in rule"),
        ("a\t部屋", "'部屋' is no condition"),
        ("a\t", "is empty"),
        ("a\tlemma=部屋".encode("cp932"), "not UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str | bytes, fault: str):
    path = file_of(tmp_path, b"# mine\nb\tlen>3\n" + (line.encode() if isinstance(line, str) else line))
    with pytest.raises(DataError, match=re.escape(f"{path}:3: ") + ".*" + re.escape(fault)):
        read_rules(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=re.escape(f"no such file: {tmp_path / 'none.tsv'}")):
        read_rules(tmp_path / "none.tsv")


# --- tables -----------------------------------------------------------------------------------------------------


def test_the_table_by_hand():
    """Fisher's tea: 3 of 4 and 1 of 4, p = 34/70 two-sided."""
    wrong = np.array([1, 1, 1, 0, 1, 0, 0, 0], dtype=bool)
    first = np.arange(8) < 4
    right, never = ~wrong, np.zeros(8, dtype=bool)
    rows = table({"right": right, "rest": ~first, "never": never, "first": first, "wrong": wrong}, wrong)
    assert [row.name for row in rows] == ["wrong", "first", "never", "rest", "right"]
    by_name = {row.name: row for row in rows}
    row = by_name["first"]
    assert (row.n, row.errors, row.rate, row.lift, row.tried) == (4, 3, 0.75, 1.5, 5)
    assert row.p == pytest.approx(34 / 70) and by_name["wrong"].p == pytest.approx(2 / 70)
    ps = [row.p for row in rows]
    assert [row.corrected for row in rows] == pytest.approx(holm(ps)) and by_name["right"].corrected == pytest.approx(
        1 / 7
    )
    assert (by_name["never"].n, by_name["never"].rate, by_name["never"].lift, by_name["never"].p) == (0, None, None, 1)


@pytest.mark.parametrize("wrong", [np.zeros(4, bool), np.ones(4, bool)])
def test_the_table_where_all_or_none_are_wrong(wrong: np.ndarray):
    (row,) = table({"some": np.array([True, False, True, False])}, wrong)
    assert (row.rate, row.lift, row.p) == (float(wrong[0]), 1.0 if wrong[0] else None, 1.0)


SUBJECTS = ["朝食", "夕食", "部屋", "風呂", "駅", "庭", "眺め", "値段", "接客", "寝具"]
MIDDLES = ["が", "は", "もとても", "はかなり"]
ADJECTIVES = ["良い", "広い", "高い", "新しい", "古い", "暗い"]
ENDINGS = ["{}いです。", "{}くないです。", "{}かったので驚いた。", "{}くなかった。", "{}くて、また来たい！"]


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    made = product(SUBJECTS, MIDDLES, ADJECTIVES, ENDINGS)
    sentences = [subject + middle + ending.format(word[:-1]) for subject, middle, word, ending in made]
    sentences += [
        f"{subject}は{verb}。" for subject in SUBJECTS for verb in ("知らない", "使わずに帰った", "使いません")
    ]
    random.Random(0).shuffle(sentences)
    return read(sentences, TOKENIZER)


@pytest.fixture(scope="module")
def tags(texts: list[Text]) -> dict[str, np.ndarray]:
    return tag(texts, RULES)


def has(texts: list[Text], written: str) -> np.ndarray:
    holds = pattern(written)
    return np.array([holds(text) for text in texts])


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_planted_errors(texts: list[Text], seed: int):
    planted = has(texts, "lemma=朝食 & lemma=無い")
    wrong = planted | (np.random.default_rng(seed).random(len(texts)) < 0.1)
    first, *others = search(texts, wrong)
    assert first.name == "lemma=朝食 & lemma=無い" and (first.n, first.errors) == (48, 48)
    assert first.corrected < 1e-20 and first.lift == pytest.approx(1 / wrong.mean())
    assert all(other.corrected > 0.05 for other in others)  # not 朝食 alone, nor other words of the same texts


def test_the_search_finds_planted_errors_in_the_slices_of_rules(texts: list[Text], tags: dict[str, np.ndarray]):
    planted = has(texts, "lemma=朝食") & tags["negation"]  # by 無い, ない and ず
    wrong = planted | (np.random.default_rng(0).random(len(texts)) < 0.1)
    first = search(texts, wrong, tags)[0]
    assert first.name == "lemma=朝食 & negation" and first.n == first.errors == 51
    assert search(texts, wrong)[0].n == 48  # without the tags, the nearest that words can say


def test_the_search_finds_a_length_and_a_sequence_of_parts_of_speech(texts: list[Text]):
    noise = np.random.default_rng(1).random(len(texts)) < 0.1
    long = f"len>{np.quantile([text.length for text in texts], 0.75):.0f}"
    assert search(texts, noise | has(texts, long))[0].name == long
    adverb = "pos=助詞-係助詞 pos=副詞 pos=形容詞-一般"
    assert search(texts, noise | has(texts, adverb))[0].n == has(texts, adverb).sum()


@pytest.mark.parametrize("seed", range(20))
def test_the_search_finds_nothing_in_random_errors(texts: list[Text], tags: dict[str, np.ndarray], seed: int):
    wrong = np.random.default_rng(seed).random(len(texts)) < 0.2
    found = search(texts, wrong, tags)
    assert found and min(row.corrected for row in found) > 0.05


def test_what_the_search_says_can_be_checked(texts: list[Text]):
    wrong = np.random.default_rng(5).random(len(texts)) < 0.3
    rows = search(texts, wrong, best=7)
    assert len(rows) == 7 and len({row.tried for row in rows}) == 1
    for row in rows:
        members = has(texts, row.name)
        assert (members.sum(), (members & wrong).sum()) == (row.n, row.errors) and row.n >= 20
        counts = [[row.errors, row.n - row.errors], [wrong.sum() - row.errors, (~wrong & ~members).sum()]]
        assert row.p == pytest.approx(fisher_exact(counts, alternative="greater").pvalue)
        assert row.corrected == pytest.approx(min(1, row.p * row.tried))
    assert [row.p for row in rows] == sorted(row.p for row in rows)


def test_what_the_search_tries():
    assert lemmas_and_pos(morphemes("部屋が狭い")) == {
        "lemma=部屋",
        "lemma=が",
        "lemma=狭い",
        "pos=名詞-普通名詞 pos=助詞-格助詞",
        "pos=助詞-格助詞 pos=形容詞-一般",
        "pos=名詞-普通名詞 pos=助詞-格助詞 pos=形容詞-一般",
    }
    strange = text_of("部屋 | 庭 * 湯 , = & ? ( $ ^ … lemma=!")
    assert all(pattern(name)(strange) for name in lemmas_and_pos(strange.morphemes))
    assert {"lemma=,", "lemma=&", "lemma==", "lemma=?"} < lemmas_and_pos(strange.morphemes)
    assert conditions([text_of("", length) for length in range(1, 101)], {})[0] == [
        "len<=25",
        "len<=50",
        "len>50",
        "len>75",
    ]
    assert (least(100), least(5_000), least(10_000)) == (20, 25, 50)


def test_the_search_counts_all_that_it_tries(texts: list[Text]):
    """By brute force: single conditions, and pairs that are more than one of them alone."""
    wrong = np.random.default_rng(0).random(len(texts)) < 0.3
    some = texts[:120]
    names, met = conditions(some, {})
    assert all((has(some, name) == row).all() for name, row in zip(names, met, strict=True))
    pairs = [met[i] & met[j] for i in range(len(names)) for j in range(i)]
    alone = [min(met[i].sum(), met[j].sum()) for i in range(len(names)) for j in range(i)]
    count = len(names) + sum(20 <= pair.sum() < least for pair, least in zip(pairs, alone, strict=True))
    assert {row.tried for row in search(some, wrong[:120])} == {count}


def test_the_search_names_no_slice_twice(texts: list[Text]):
    wrong = has(texts, "lemma=朝食")
    assert [row.name for row in search(texts, wrong)] == ["lemma=朝食"]
    again = search(texts, wrong, {"breakfast": wrong, "all": np.ones(len(texts), bool)})
    assert [row.name for row in again] == ["breakfast"]


@pytest.mark.parametrize("wrong", [np.zeros(30, bool), np.ones(30, bool)])
def test_the_search_finds_nothing_where_all_or_none_are_wrong(texts: list[Text], wrong: np.ndarray):
    assert search(texts[:30], wrong) == []


def test_the_search_finds_nothing_in_a_handful_of_texts(texts: list[Text]):
    assert search(texts[:4], np.array([True, False, True, False])) == []


def test_a_corpus_takes_seconds(data_folder: Path):
    lines = (data_folder / "data" / "jrte" / "pn.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [line.split("\t")[2] for line in lines]
    begin = time.process_time()
    texts = read(sentences, TOKENIZER)
    tags = tag(texts, built_in([text.length for text in texts]))
    wrong = np.random.default_rng(0).random(len(texts)) < 0.15
    rows = search(texts, wrong | (tags["negation"] & has(texts, "lemma=朝食")), tags)
    assert time.process_time() - begin < 15  # about 3 on an idle core
    assert rows[0].name == "lemma=朝食 & negation" and rows[0].corrected < 1e-20
    assert tags.pop("unknown token").all()  # with a vocabulary of nine
    assert {name for name, members in tags.items() if not 0 < members.mean() < 0.5} <= {"double negation"}
