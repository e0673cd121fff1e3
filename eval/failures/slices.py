"""Slices: kinds of texts in which a classifier errs more often, by rules and by a search.

The search, with tests corrected for their number, is the idea of Chung et al. 2019, "Slice Finder", arXiv:1807.06068.
Rules are patterns of morphemes, not of strings: 「少ない」 ends in ない and negates nothing. A pattern is a sequence of
conditions with spaces between them, each for one morpheme after another:

    lemma=部屋 lemma=が lemma=狭い|小さい   surface, lemma and 品詞 as in `Morpheme`; | is "or", * in a value "whatever"
    pos=助詞-接続助詞,lemma!=て             , is "and" for the same morpheme; != is "none of"; a 品詞 has those below it
    lemma=部屋 * lemma=狭い                 * is any morpheme
    lemma=部屋 … lemma=狭い                 … is any number of morphemes (also none) of the same sentence
    lemma=問題 …pos=助詞 lemma=無い         … before a condition: any number of morphemes that meet it
    pos=形容詞 ?lemma=です $                ? before a condition: perhaps such a one; ^ and $ are begin and end of a
                                            sentence; what marks (補助記号, 記号) stand before its end does not matter
    len>30 lemma=部屋 & lemma=無い          tokens of the text, without [CLS] and [SEP], by <, <=, =, >= or >;
                                            & with spaces: the text has this and that, wherever it may be

Letters: n texts.
"""

import operator
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import fisher_exact, hypergeom, mannwhitneyu

from ...data.dataset import DataError
from ...data.rows import read_lines, refuse_broken_text
from ...tokenize.morphemes import Morpheme, morphemes, normal
from ...tokenize.tokenizer import Tokenizer
from ..statistics import ALPHA, holm
from ..yardsticks import overlap


@dataclass(frozen=True)
class Text:
    """A text with what rules and patterns read."""

    text: str  # after NFKC
    morphemes: Sequence[Morpheme]
    length: int  # in tokens, without [CLS] and [SEP], before truncation
    unknown: int  # how many of them are [UNK]
    parts: "tuple[Text, Text] | None" = None  # of a pair, its two texts; of choices, the question and the right one
    gold: Any = None  # its label

    @cached_property
    def table(self) -> str:
        """A line for each morpheme, `surface<tab>lemma<tab>品詞`, in which patterns are sought."""
        return "".join("\t".join(morpheme) + "\n" for morpheme in self.morphemes)  # none has a tab or the end of a line


def read(texts: Sequence[str], tokenizer: Tokenizer) -> list[Text]:
    """Texts with their morphemes by UniDic, and their numbers of tokens by the model's tokenizer."""
    added = tokenizer.template.added()
    return [
        Text(normal(text), morphemes(text), len(encoded.ids) - added, int((encoded.ids == tokenizer.unk_id).sum()))
        for text, encoded in zip(texts, tokenizer.encode_batch(texts), strict=True)
    ]


def read_pairs(texts: Sequence[Text], pairs: Sequence[tuple[str, str] | None], tokenizer: Tokenizer) -> list[Text]:
    """n texts with the two that each is about, where it has two."""
    ones, others = (read([pair[i] if pair else "" for pair in pairs], tokenizer) for i in (0, 1))
    return [
        replace(text, parts=(one, other) if pair else None)
        for text, pair, one, other in zip(texts, pairs, ones, others, strict=True)
    ]


# --- patterns ---------------------------------------------------------------------------------------------------

Predicate = Callable[[Text], bool]
FIELDS = {"surface": "{}\t", "lemma": "[^\t\n]*\t{}\t", "pos": ".*\t{}(?:-[^\t\n]*)?\n"}  # their places in a line
COUNT = re.compile(r"len(<=|>=|<|>|=)(\d+)")
COMPARE = {"<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">": operator.gt}
ENDING = "[。!?]\t.*\n"
FACE_WORDS = "笑|汗|w|o|O|v|m|T"  # words, for MeCab, of (笑), (^o^)v and the like
MARK = rf"(?:(?:{FACE_WORDS})\t.*|.*\t(?:補助記号|記号)(?:-.*)?)\n"
SIGNS = {
    "*": ".*\n",
    "...": f"(?:(?!{ENDING}).*\n)*?",
    "^": rf"(?:\A|{ENDING})",
    "$": rf"(?:{MARK})*?(?:\Z|{ENDING})",
}
TIMES = {"?": "?", "...": "*?", "": ""}


def pattern(written: str) -> Predicate:
    """A pattern in the language above → a predicate. ValueError says what is wrong with it."""
    parts = [pattern_part(part.split()) for part in re.split(r"\s&(?=\s)", normal(written))]
    return lambda text: all(part(text) for part in parts)


def pattern_part(words: Sequence[str]) -> Predicate:
    if not words:
        raise ValueError("the pattern, or a part of it, is empty: write a condition, like lemma=部屋")
    counts = [(COMPARE[found[1]], int(found[2])) for found in map(COUNT.fullmatch, words) if found]
    lines = sequences([word for word in words if not COUNT.fullmatch(word)])
    return lambda text: all(holds(text.length, n) for holds, n in counts) and bool(lines.search(text.table))


def sequences(*alternatives: Sequence[str]) -> re.Pattern:
    """Sequences of conditions → a regular expression for `Text.table` that finds one of them."""
    return re.compile("^(?:" + "|".join("".join(map(line, words)) for words in alternatives) + ")", re.MULTILINE)


def line(word: str) -> str:
    """One word of a pattern → a regular expression for its lines."""
    if word in SIGNS:
        return SIGNS[word]
    sign = next(sign for sign in TIMES if word.startswith(sign))
    lookaheads = []
    for condition in re.split(r",(?=\w+!?=)", word.removeprefix(sign)):
        found = re.fullmatch(rf"({'|'.join(FIELDS)})(!?)=(.+)", condition)
        if not found or "" in (values := found[3].split("|")):
            raise ValueError(f"{word!r} is no condition: write surface=…, lemma=…, pos=… (or !=), len>…, * … ^ or $")
        either = "|".join(re.escape(value).replace(r"\*", "[^\t\n]*") for value in values)
        lookaheads.append(f"(?{found[2] or '='}{FIELDS[found[1]].format(f'(?:{either})')})")
    return f"(?:{''.join(lookaheads)}.*\n){TIMES[sign]}"


def any_of(*patterns: str) -> Predicate:
    """A predicate: at least one of the patterns."""
    predicates = [pattern(written) for written in patterns]
    return lambda text: any(holds(text) for holds in predicates)


# --- rules ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A slice by definition."""

    name: str
    gloss: str  # in Japanese
    description: str
    holds: Predicate


# Lemmas of UniDic, chosen for this project.
PRAISE = (
    "lemma=良い|素晴らしい|美味しい|旨い|嬉しい|楽しい|面白い|優しい|有り難い|可愛い|心地良い|快い|美しい|懐かしい|凄い|大好き|"
    "奇麗|清潔|便利|快適|丁寧|親切|素敵|豊富|豪華|最高|最適|抜群|完璧|満足|安心|満喫|感動|感激|気さく|贅沢|好き|"
    "リーズナブル|新鮮|幸せ|御洒落|立派|絶品|絶景|癒す|寛ぐ|助かる|喜ぶ"
)
BLAME = (
    "lemma=悪い|酷い|不味い|汚い|臭い|黴臭い|煩い|狭い|古い|寒い|暗い|遅い|怖い|辛い|寂しい|惜しい|しょぼい|面倒|"
    "残念|不満|不便|不快|不安|不足|不潔|最低|最悪|駄目|嫌|苦手|窮屈|邪魔|迷惑|失礼|雑|微妙|割高|耳障り|"
    "問題|文句|欠点|苦情|騒音|埃|染み|がっかり|今一|苛々|困る|壊れる|汚れる"
)
POSITIVE = any_of(PRAISE, "lemma=気 lemma=に lemma=入る", "lemma=御 lemma=勧める")
NEGATIVE = any_of(BLAME, "lemma=物 lemma=足りる lemma=ます|ない", "lemma=不|無 lemma=親切|愛想|衛生|自由|十分")

NOT = "lemma=無い|ない|ず|無し"
NEGATION = sequences([NOT])
NEGATES_NOTHING = (
    "lemma=勿体|申し訳|とんでも|仕方|仕様 ?pos=助詞 lemma=無い",
    "lemma=申し訳 lemma=有る lemma=ます lemma=ず",
    "lemma=詰まる|下る|堪る ?lemma=ます lemma=ない|ず",  # つまらない, くだらない, たまりません
    "lemma=済む lemma=ます lemma=ず",
    "lemma=か lemma=も lemma=知れる ?lemma=ます lemma=ない|ず",
    "lemma=に lemma=も lemma=関わる lemma=ず",
    "lemma=相 lemma=変わる lemma=ず",
    "lemma=思う surface=ず",
    "lemma=何 lemma=と|気 lemma=無い",
    "lemma=だけ|ばかり lemma=で|だ ?lemma=は lemma=無い",  # not only
    "lemma=で|だ ?lemma=は lemma=無い ?lemma=です lemma=か",  # is it not
    "lemma=ない|ず lemma=ば|と|て ?lemma=は lemma=成る|行く ?lemma=ます lemma=ない|ず",  # must
    "lemma=止む|ず lemma=を lemma=得る ?lemma=ます lemma=ない|ず",
)
FIXED = sequences(*map(str.split, NEGATES_NOTHING))


def negated(text: Text) -> bool:
    return bool(NEGATION.search(FIXED.sub("", text.table)))


PROBLEM = (
    "lemma=問題|文句|不満|不便|不足|不快|不安|心配|欠点|難点|苦情|申し分|遜色|違和|ストレス|気兼ね|迷惑|失礼|嫌|"
    "悪い|臭い|煩い|困る|飽きる|迷う|裏切る|間違い"
)
GRAMMAR = (
    "lemma=は|も|が|の|を|に|で|だ|と|事|点|所|様|感|有る|言う|思う|感ずる|為る|成る|付ける|させる|ます|特に|全く|"
    "全然|何"
)
ASKING = "lemma=願う|希望|要望 ...lemma=為る|致す|ます|です|たい|と|思う $"
GLAD = "?pos=副詞 lemma=良い|嬉しい|有り難い|助かる"
FACE = re.compile(
    r"[♪♫♬☆★♡♥❤\U0001f300-\U0001faff]"  # and pictures
    r"|\^[^\w\s]{0,3}\^|[;T>][_.]+[;T<]|\(_+\)|\([^()]{0,4}[▽∀ωд][^()]{0,4}\)|\^o\^"  # ^^ T_T (__) (´▽`)
    r"|\((?:笑|爆|汗|泣|涙)\)|(?<![A-Za-z.])(?:w+|orz)(?![A-Za-z.])"
)


def rule(name: str, gloss: str, description: str, *patterns: str) -> Rule:
    return Rule(name, gloss, description, any_of(*patterns))


def built_in(lengths: Sequence[int]) -> list[Rule]:
    """The built-in rules. Short and long are the outer quarters of these lengths (`Text.length`)."""
    short, long = np.quantile(lengths, [0.25, 0.75]).astype(int).tolist()
    return [
        rule("short", "短文", f"at most {short} tokens: the shortest quarter", f"len<={short}"),
        rule("long", "長文", f"more than {long} tokens: the longest quarter", f"len>{long}"),
        *RULES,
    ]


RULES = [
    Rule("unknown token", "未知語", "has [UNK], which the vocabulary cannot write", lambda text: text.unknown > 0),
    Rule("negation", "否定",
         "ない, ません, ず, ぬ, 無い, なし; not where nothing is negated: もったいない, かもしれない, だけでなく",
         negated),
    rule("negated problem", "問題の否定",
         "something bad that is not there: 問題なし, 不満はない, 悪くない, 言うことなし, 気にならない",
         f"{PROBLEM} ...{GRAMMAR} {NOT}", f"lemma=不 lemma=自由 ...{GRAMMAR} {NOT}",
         f"lemma=言う lemma=事 ...{GRAMMAR} {NOT}",
         f"lemma=気 lemma=に ?lemma=は|も lemma=成る,surface=なら|なり ?lemma=ます {NOT}",
         f"lemma=非 lemma=の lemma=打ち所 ...{GRAMMAR} {NOT}"),
    rule("double negation", "二重否定", "a negation of a negation: なくはない, ないわけではありません",
         f"{NOT} ?lemma=と,pos=助詞-格助詞 ...lemma=は|も|の|で|だ|て|事|訳|物|有る|言う|限る|ます {NOT}"),
    rule("concession", "逆接・譲歩",
         "が, けれど and けど between clauses, ものの, 以外は, and しかし, ただ and でも before one",
         "pos=助詞-接続助詞,lemma=が|けれど", "pos=接続詞,lemma=が|けれど|然し|唯|但し", "^ surface=で surface=も",
         "pos=助動詞|形容詞 surface=もの surface=の", "surface=もの surface=の surface=、", "lemma=以外 lemma=は"),
    rule("wish", "願望", "what the writer wants to do, or not: また来たい, 利用させていただきたい",
         "lemma!=頂く|貰う lemma=たい", "lemma=せる|させる lemma=て lemma=頂く lemma=たい"),
    rule("request", "要望",
         "how it should be: 〜てほしい, 〜ていただきたい, 〜といい, 〜ばなぁ, 〜と助かる, ください, お願いします",
         "lemma=欲しい", "lemma=て lemma=貰う lemma=たい", "lemma!=せる|させる lemma=て lemma=頂く lemma=たい",
         "lemma=下さる,surface=ください|下さい lemma!=ます", "lemma=下さる,surface=ください|下さい $",
         f"^ ?lemma=御 {ASKING}", f"lemma!=宜しく|御 ?lemma=御 {ASKING}",
         f"pos=助詞-接続助詞,lemma=と|ば {GLAD} pos!=名詞|接頭辞", f"surface=たら {GLAD} pos!=名詞|接頭辞",
         "lemma!=有る lemma=ば $",  # not 機会があれば
         "lemma=だ lemma=有る lemma=ば $", "lemma=ば pos=助詞-終助詞", "surface=たら pos=助詞-終助詞"),
    rule("greeting or thanks", "挨拶・感謝",
         "ありがとう, 感謝, お世話になりました, お礼, ごちそうさま, よろしくお願いします, こんにちは",
         "lemma=有り難う|感謝|今日は|今晩は|御早う|さようなら",
         "lemma=御 lemma=世話 ?lemma=様 ?lemma=に lemma=成る|為る|です", "lemma=御 lemma=礼|馳走|疲れ",
         "lemma=宜しく ?lemma=御 lemma=願う", "lemma=宜しく $"),
    rule("existence", "存在文",
         "a thing or a person is there, and the sentence ends: 〜があります, 〜もありました, 〜がいた",
         "pos=名詞|接尾辞-名詞的,lemma!=事|感 lemma=が|も ...pos=名詞|助詞-格助詞|接尾辞|副詞|接頭辞 "
         "lemma=有る|居る|御座る ?lemma=ます ?lemma=た $"),
    rule("fragment", "断片・体言止め",
         "a sentence without a predicate at its end: there is a noun, an adverb, or a noun with its particle",
         f"pos=名詞|代名詞|接尾辞-名詞的|副詞|接続詞,pos!=名詞-普通名詞-*形状詞可能,surface!={FACE_WORDS} $",
         "pos=名詞|代名詞|接尾辞-名詞的|副詞 pos=助詞-格助詞|助詞-係助詞|助詞-副助詞 $"),
    Rule("exclamation mark", "感嘆符", "has ! or ！", lambda text: "!" in text.text),
    Rule("emoticon", "顔文字・絵文字", "♪, ☆, (笑), w, ^^, (__) or a picture",
         lambda text: bool(FACE.search(text.text))),
    rule("number", "数", "in figures or kanji; not in 一番 and 十分",
         "pos=名詞-数詞,lemma!=何|幾|数", "lemma=一人|二人"),
    Rule("positive word", "肯定的な語", "a word of praise, negated or not", POSITIVE),
    Rule("negative word", "否定的な語", "a word of blame, negated or not", NEGATIVE),
    Rule("both polarities", "肯定と否定の語", "a word of praise and a word of blame",
         lambda text: POSITIVE(text) and NEGATIVE(text)),
]  # fmt: skip


# --- rules of pairs ---------------------------------------------------------------------------------------------


def of_both(holds: Callable[[Text, Text], bool]) -> Predicate:
    """A predicate of the two texts of a pair; false of a single text."""
    return lambda text: text.parts is not None and holds(*text.parts)


def shorter_share(one: Text, other: Text) -> float:
    """The length of the shorter text, as a share of that of the longer."""
    return min(one.length, other.length) / max(one.length, other.length, 1)


def numbers(text: Text) -> Counter[str]:
    """The numbers in figures or kanji, as they are written but for the width and kind of each sign: 12 is 一二."""
    signs = [word.lemma if word.pos.startswith("名詞-数詞") else " " for word in text.morphemes]
    return Counter("".join(signs).split())


PAIR_RULES = [
    Rule("about the same length", "同じくらいの長さ",
         "the shorter text has nine tenths of the tokens of the longer, or more",
         of_both(lambda one, other: shorter_share(one, other) >= 0.9)),
    Rule("very different length", "長さが大きく違う", "the shorter text has at most half of the tokens of the longer",
         of_both(lambda one, other: shorter_share(one, other) <= 0.5)),
    Rule("negation in one only", "片方だけ否定", "of the two texts one has a negation, as above, and the other none",
         of_both(lambda one, other: negated(one) != negated(other))),
    Rule("different numbers", "数が違う",
         "the two texts do not have the same numbers, in figures or kanji; 10 is not 十",
         of_both(lambda one, other: numbers(one) != numbers(other))),
]  # fmt: skip


def overlap_rules(texts: Sequence[Text], of: tuple[str, str] = ("overlap", "重なり")) -> list[Rule]:
    """Thirds of texts with two parts, by the share of bigrams of characters that the parts have in common.

    of: what is shared, in English and Japanese. None where nearly all texts have the same share.
    """
    shares = [of_parts(text) for text in texts if text.parts]
    if not shares:
        return []
    low, high = (round(float(bound), 2) for bound in np.quantile(shares, [1 / 3, 2 / 3]))
    what, (name, gloss) = "bigrams of characters that the two have in common, from 0 to 1", of
    rules = [
        Rule(f"low {name} (up to {low:g})", f"{gloss}が小さい({low:g} 以下)", what, shares_in(-1.0, low)),
        Rule(f"middling {name}", f"{gloss}が中くらい", what, shares_in(low, high)),
        Rule(f"high {name} (above {high:g})", f"{gloss}が大きい({high:g} を超える)", what, shares_in(high, 1.0)),
    ]
    return [rule for rule in rules if 0 < sum(map(rule.holds, texts)) < len(texts)]


def shares_in(above: float, to: float) -> Predicate:
    return lambda text: text.parts is not None and above < of_parts(text) <= to


def of_parts(text: Text) -> float:
    assert text.parts is not None
    one, other = text.parts
    return overlap(one.text, other.text)


def gold_rules(texts: Sequence[Text]) -> list[Rule]:
    """Quarters of the range of the gold scores, the last with its upper end; with digits that tell them apart."""
    scores = [float(text.gold) for text in texts]
    edges = np.unique(np.linspace(min(scores), max(scores), 5)).tolist()
    whole = max(len(f"{abs(edge):.0f}") for edge in edges)  # digits, of which none is left out
    for digits in range(max(3, whole), max(18, whole + 1)):
        names = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(names)) == len(names):
            break
    pairs = zip(pairwise(edges), pairwise(names), strict=True)
    return [gold_rule(*ends, *named, last=ends[1] == edges[-1]) for ends, named in pairs]


def gold_rule(low: float, high: float, start: str, end: str, last: bool) -> Rule:
    def holds(text: Text) -> bool:
        return low <= text.gold < high or (last and text.gold == high)

    return Rule(f"score from {start} to {end}", f"得点 {start}〜{end}", "by the label", holds)


# --- rules of one's own -----------------------------------------------------------------------------------------


def read_rules(path: str | Path) -> list[Rule]:
    """Rules from a file of UTF-8, with a line `name<tab>pattern` or `name<tab>pattern<tab>gloss` for each pattern.

    Several patterns of one name are alternatives. Empty lines and those that begin with # are passed over. DataError
    names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    taken = {rule.name for rule in [*built_in([0]), *PAIR_RULES]}
    patterns: dict[str, list[str]] = {}
    glosses: dict[str, str] = {}
    for number, written in enumerate(read_lines(path), start=1):
        if not written.strip() or written.startswith("#"):
            continue
        try:
            refuse_broken_text(written)
            name, *rest = (cell.strip() for cell in written.split("\t"))
            if not name or len(rest) not in (1, 2):
                raise ValueError("write name, tab, pattern, and if you like another tab and a gloss")
            if name in taken:
                raise ValueError(f"{name!r} is a built-in rule: choose another name")
            pattern(rest[0])
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from error
        patterns.setdefault(name, []).append(rest[0])
        glosses[name] = "".join(rest[1:]) or glosses.get(name, "")
    return [rule(name, glosses[name], " or ".join(own), *own) for name, own in patterns.items()]


def tag(texts: Sequence[Text], rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """The name of each rule → (n,) whether it holds for each text."""
    return {rule.name: np.array([rule.holds(text) for text in texts], dtype=bool) for rule in rules}


# --- statistics -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SliceRow:
    """The errors in one slice."""

    name: str
    n: int
    errors: int
    rate: float | None  # None without texts
    lift: float | None  # the rate over that of all texts; None where that is 0
    p: float  # that chance alone brings such a number of errors
    corrected: float  # for all slices that were tried
    tried: int


def slice_row(name: str, members: np.ndarray, wrong: np.ndarray, p: float, corrected: float, tried: int) -> SliceRow:
    n, errors = int(members.sum()), int((members & wrong).sum())
    rate = errors / n if n else None
    lift = rate / float(wrong.mean()) if rate is not None and wrong.any() else None
    return SliceRow(name, n, errors, rate, lift, float(p), float(corrected), tried)


def table(tags: Mapping[str, np.ndarray], wrong: np.ndarray) -> list[SliceRow]:
    """A row for each slice by significance: worse than the rest first, better than the rest last.

    tags: name → (n,) its texts. wrong: (n,) the errors. p is Fisher's exact test, two-sided, corrected by Holm.
    """
    ps = []
    for members in tags.values():
        counts = [[int((members & wrong).sum()), int((members & ~wrong).sum())],
                  [int((~members & wrong).sum()), int((~members & ~wrong).sum())]]  # fmt: skip
        ps.append(float(fisher_exact(counts).pvalue))
    rows = [
        slice_row(name, members, wrong, p, corrected, len(ps))
        for (name, members), p, corrected in zip(tags.items(), ps, holm(ps), strict=True)
    ]
    return sorted(rows, key=lambda row: (0, row.p) if (row.lift or 0) > 1 else (1, -row.p))


@dataclass(frozen=True)
class ResidualRow:
    """The residuals (answer - label) in one slice."""

    name: str
    n: int
    mae: float  # mean of their sizes
    bias: float  # their mean: above 0 where the answers are too high
    lift: float | None  # `mae` over that of all texts; None where that is 0
    p: float  # that chance alone makes those of the slice and of the rest so different in size
    corrected: float
    tried: int


def residual_table(tags: Mapping[str, np.ndarray], residuals: np.ndarray) -> list[ResidualRow]:
    """A row for each slice with texts by significance, larger residuals than the rest first.

    tags: name → (n,) its texts. residuals: (n,). p is the test of Mann and Whitney (1947) of their sizes, two-sided,
    corrected by Holm; 1 where a slice has all texts.
    """
    tags, sizes = {name: members for name, members in tags.items() if members.any()}, abs(residuals)
    ps = [
        1.0 if members.all() or not np.ptp(sizes) else float(mannwhitneyu(sizes[members], sizes[~members]).pvalue)
        for members in tags.values()
    ]
    rows = []
    for (name, members), p, corrected in zip(tags.items(), ps, holm(ps), strict=True):
        mae = float(sizes[members].mean())
        lift = mae / float(sizes.mean()) if sizes.any() else None
        bias = float(residuals[members].mean())
        rows.append(ResidualRow(name, int(members.sum()), mae, bias, lift, p, corrected, len(ps)))
    return sorted(rows, key=lambda row: (0, row.p) if (row.lift or 0) > 1 else (1, -row.p))


LEAST, LEAST_SHARE = 20, 0.005  # texts of a slice that is tried, and their share of all
CANDIDATES = 10_000  # slices, the most significant ones, among which independent ones are sought
NOT_IN_A_VALUE = re.compile(r"[\s|*]")  # not expressible in a pattern


def search(
    texts: Sequence[Text], wrong: np.ndarray, tags: Mapping[str, np.ndarray] | None = None, best: int = 10
) -> list[SliceRow]:
    """The most significant of all slices in which the classifier errs more often.

    Tried are single conditions and pairs of them, with enough texts: a lemma, two or three 品詞 in a row (their first
    two levels), a length up to or above a quartile, and the slices of `tags`; no pair in which one condition implies
    the other. Names are patterns, but for those of tags.

    p is Fisher's exact test, one-sided (the hypergeometric distribution), corrected by Bonferroni for all that were
    tried. A slice is left out where it is not significant without the texts that it shares with those before.
    """
    # How many texts and errors each condition has (on the diagonal), and each pair of conditions.
    names, has = conditions(texts, tags or {})  # (conditions, n)
    of_texts, of_errors = (part @ part.T for part in (has.astype(np.float32), has[:, wrong].astype(np.float32)))
    alone = of_texts.diagonal()
    tried = (of_texts >= least(len(texts))) & (of_texts < np.minimum.outer(alone, alone))
    np.fill_diagonal(tried, True)
    first, second = np.nonzero(np.triu(tried))
    counts = np.stack([of_texts[first, second], of_errors[first, second]]).astype(int)
    # p of each; far fewer counts are different than there are slices.
    (sizes, errors), places = np.unique(counts, axis=1, return_inverse=True)
    p = hypergeom.sf(errors - 1, len(texts), int(wrong.sum()), sizes)[places]
    # The most significant ones that do not only repeat those before.
    rows: list[SliceRow] = []
    new = np.ones(len(texts), dtype=bool)  # texts in none of the slices found so far
    for i in np.lexsort([first != second, p])[:CANDIDATES]:
        members = has[first[i]] & has[second[i]]
        rest = members & new
        if hypergeom.sf((rest & wrong).sum() - 1, new.sum(), (new & wrong).sum(), rest.sum()) <= ALPHA:
            name = " & ".join(dict.fromkeys([names[first[i]], names[second[i]]]))
            rows.append(slice_row(name, members, wrong, p[i], min(1.0, p[i] * len(p)), len(p)))
            new &= ~members
        if len(rows) == best:
            break
    return rows


def conditions(texts: Sequence[Text], tags: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """The conditions of the search with enough texts: their names, and (conditions, n) whether each text meets them."""
    met: defaultdict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for name in lemmas_and_pos(text.morphemes):
            met[name].append(i)
    lengths = np.array([text.length for text in texts])
    quarter, half, rest = np.quantile(lengths, [0.25, 0.5, 0.75]).astype(int).tolist()
    by_length = {f"len<={bound}": lengths <= bound for bound in (quarter, half)}
    by_length |= {f"len>{bound}": lengths > bound for bound in (half, rest)}
    met |= {name: np.flatnonzero(members).tolist() for name, members in {**by_length, **tags}.items()}
    names = sorted(name for name, members in met.items() if len(members) >= least(len(texts)))
    has = np.zeros((len(names), len(texts)), dtype=bool)
    for row, name in zip(has, names, strict=True):
        row[met[name]] = True
    return names, has


def lemmas_and_pos(words: Sequence[Morpheme]) -> set[str]:
    """The patterns of all lemmas, and of all two and three 品詞 in a row."""
    kinds = ["pos=" + "-".join(word.pos.split("-")[:2]) for word in words]
    rows = [*pairwise(kinds), *zip(kinds, kinds[1:], kinds[2:], strict=False)]
    return {f"lemma={word.lemma}" for word in words if not NOT_IN_A_VALUE.search(word.lemma)} | set(map(" ".join, rows))


def least(texts: int) -> float:
    """The number of texts that a slice of the search must have."""
    return max(LEAST, LEAST_SHARE * texts)
