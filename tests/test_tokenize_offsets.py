"""Offsets point into the text as it was given, through normalization, lower case and dropped accents."""

import re
import time
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tezukuri.tokenize import normalize
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.normalize import Aligned, normalized
from tezukuri.tokenize.settings import Settings
from tezukuri.tokenize.vocabulary import vocabulary_of

TEXTS = [
    "コトとガラスとガスと株式会社です",
    "ABC株式会社のパパが",
    "カフェのコーヒー、東京のタワー。",
    "cafe",
]
TOKENIZER = JapaneseTokenizer(vocabulary_of(TEXTS * 2))
UNCASED = Settings("BertTokenizer", "basic", do_lower_case=True, tokenize_chinese_chars=True)
PLAIN_BERT = JapaneseTokenizer(vocabulary_of([*TEXTS, "résumé the cafe weiß straße σ"] * 2, UNCASED), UNCASED)
BY_CHARACTER = JapaneseTokenizer(vocabulary_of(TEXTS), Settings(subword_tokenizer_type="character"))


def spans(text: str, tokenizer: JapaneseTokenizer = TOKENIZER) -> list[tuple[str, str, tuple[int, int]]]:
    """(token, the stretch of the original, its place) without [CLS] and [SEP]."""
    found = tokenizer.encode(text)
    return [(t, text[a:b], (a, b)) for t, (a, b) in zip(found.tokens[1:-1], found.offsets[1:-1], strict=True)]


def test_added_tokens_have_an_empty_span_and_a_pair_is_counted_from_its_own_start():
    encoding = TOKENIZER.encode("コト", "ガラス と")
    assert encoding.tokens == ["[CLS]", "コト", "[SEP]", "ガラス", "と", "[SEP]"]
    assert encoding.offsets == [(0, 0), (0, 2), (0, 0), (0, 3), (4, 5), (0, 0)]
    assert encoding.type_ids == [0, 0, 0, 1, 1, 1]


def test_a_plain_text_is_its_own_measure():
    assert spans("東京のタワー") == [("東京", "東京", (0, 2)), ("の", "の", (2, 3)), ("タワー", "タワー", (3, 6))]


def test_spaces_between_words_are_in_no_span():
    assert [place for _, _, place in spans(" コト \t ガラス\n")] == [(1, 3), (6, 9)]


def test_one_character_that_becomes_several():
    # ヿ is a single character for コト, ㍿ for 株式会社 (two words): all that come from it share its span.
    assert spans("ヿと") == [("コト", "ヿ", (0, 1)), ("と", "と", (1, 2))]
    assert [(stretch, place) for _, stretch, place in spans("㍿です")] == [("㍿", (0, 1))] * (
        len(spans("㍿です")) - 1
    ) + [("です", (1, 3))]
    assert "".join(token.removeprefix("##") for token, _, _ in spans("㍿です")) == "株式会社です"


def test_several_characters_that_become_one():
    assert spans("ｶﾞﾗｽと") == [("ガラス", "ｶﾞﾗｽ", (0, 4)), ("と", "と", (4, 5))]
    assert spans("か\u3099", BY_CHARACTER) == [("が", "か\u3099", (0, 2))]


def test_full_width_letters_keep_their_places():
    assert Aligned.of("ＡＢＣ！").normalize("NFKC") == Aligned("ABC!", [(0, 1), (1, 2), (2, 3), (3, 4)])


def test_by_character_too():
    assert spans("ｶﾞと", BY_CHARACTER) == [("ガ", "ｶﾞ", (0, 2)), ("と", "と", (2, 3))]


def test_lower_case_may_be_longer():
    assert Aligned.of("aİb").lower() == Aligned("ai̇b", [(0, 1), (1, 2), (1, 2), (2, 3)])


def test_dropped_accents_belong_to_their_letter():
    assert spans("a re\u0301sum\u00e9\u0301!", PLAIN_BERT) == [
        ("a", "a", (0, 1)),
        ("resume", "re\u0301sum\u00e9\u0301", (2, 10)),
        ("[UNK]", "!", (10, 11)),
    ]


def test_chinese_characters_stand_alone_in_an_english_bert():
    assert [stretch for _, stretch, _ in spans("cafe東京 the", PLAIN_BERT)] == ["cafe", "東", "京", "the"]


def test_special_tokens_in_the_text_have_their_place():
    found = TOKENIZER.encode("東京の[MASK]です", special_tokens=True)
    at = found.tokens.index("[MASK]")
    assert found.ids[at] == TOKENIZER.mask_id
    assert found.offsets[at] == (3, 9)
    assert found.offsets[at + 1] == (9, 11)


def test_a_nul_and_half_a_surrogate_pair_lose_nothing_around_them():
    assert [stretch for _, stretch, _ in spans("東京\0の")] == ["東京", "の"]
    assert [stretch for _, stretch, _ in spans("東京\ud83dの")] == ["東京", "\ud83d", "の"]
    assert spans("東\ud800")[-1][0] == "[UNK]"
    assert PLAIN_BERT.encode("a\0\ud800b").offsets == [(0, 0), (0, 1), (3, 4), (0, 0)]


@pytest.mark.parametrize("text", ["", " ", "\n", "\0", "\x1c"])
def test_a_text_of_nothing_is_two_special_tokens(text):
    assert TOKENIZER.encode(text).tokens == ["[CLS]", "[SEP]"]
    assert TOKENIZER.encode_batch([text]).ids.tolist() == [TOKENIZER.cls_id, TOKENIZER.sep_id]


def test_ten_thousand_combining_marks_take_no_more_than_their_share_of_time():
    start = time.perf_counter()
    once = Aligned.of("か" + "\u3099" * 10_000 + "です").normalize("NFKC")
    TOKENIZER.encode("か" + "\u3099\u0301" * 5_000 + "です")
    TOKENIZER.encode("\u1100" + "\u1161" * 10_000)
    assert time.perf_counter() - start < 5
    assert once.spans[-3:] == [(0, 10_001), (10_001, 10_002), (10_002, 10_003)]


@pytest.mark.parametrize("marks", ["\u0300\u0328", "ﾞ\u0345", "\u0344\u0f73"])
@pytest.mark.parametrize("tokenizer", [TOKENIZER, BY_CHARACTER, PLAIN_BERT], ids=["mecab", "character", "basic"])
def test_marks_out_of_order_take_no_more_than_their_share_of_time(tokenizer, marks):
    """Python's own normalization takes ten seconds for these."""
    text = "か" + marks * 50_000 + "です"
    start = time.perf_counter()
    normal = Aligned.of(text).normalize("NFKC")
    tokenizer.normal_form(text)
    assert time.perf_counter() - start < 5
    assert normal.text[-2:] == "です" and normal.spans[-2:] == [(100_001, 100_002), (100_002, 100_003)]
    classes = list(map(unicodedata.combining, normal.text[1:-2]))
    assert classes == sorted(classes) and len(classes) >= 99_999


# Every kind of character that normalization moves: marks, compatibility forms, jamo, kana, letters, astral kanji.
MOVING = st.sampled_from(
    "ｶﾞﾊﾟヿ㍿㌔゛゜か\u3099\u309a\u0301\u0308\u0345e\u00e9\u212b\u00c5ﬁ½①각\u1100\u1161\u11a8\u1e9b\u0323\u0390İΣς𝒜㋿"
    "\u0dd9\u0dcf\u0f71\u0f72\u3000 \t\n\x1c。！a\U00020bb7\U0002f800"
)
ANY_TEXT = st.text(st.one_of(MOVING, st.characters()), max_size=40)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@given(text=ANY_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
@example(text="\u1100\u1161\u11a8\u0301")
def test_normalizing_by_segments_is_normalizing_the_whole(form, text):
    normal = Aligned.of(text).normalize(form)
    assert normal.text == unicodedata.normalize(form, text)
    assert len(normal.spans) == len(normal.text)
    # Segments in order, without gap or overlap.
    cuts = list(dict.fromkeys(normal.spans))
    assert [a for a, _ in cuts] == [0, *(b for _, b in cuts)][:-1] if cuts else text == ""
    assert not cuts or cuts[-1][1] == len(text)


@pytest.fixture
def sorting_always():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalize, "SHORT_TEXT", 0)
        patch.setattr(normalize, "MARKS", re.compile(normalize.MARKS.pattern.replace("100", "2")))
        yield


MARKED = st.text(st.one_of(st.sampled_from("\u0300\u0328\u0345\u3099\u309a\u0344\u0f73\u0f71\u0f72ﾞﾟeかｶà´！"), MOVING))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@given(text=MARKED)
@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(text="か" + "\u3099\u0301ﾞ" * 40)
def test_marks_are_sorted_as_python_sorts_them(sorting_always, form, text):
    assert normalized(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BY_CHARACTER, PLAIN_BERT], ids=["mecab", "character", "basic"])
@given(text=ANY_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_spans_never_run_backwards_and_hold_their_piece(tokenizer, text):
    encoding = tokenizer.encode(text)
    assert encoding.ids == tokenizer.encode_batch([text])[0].ids.tolist()
    assert not encoding.truncated
    before = (0, 0)
    for token, (start, end) in zip(encoding.tokens[1:-1], encoding.offsets[1:-1], strict=True):
        assert 0 <= before[0] <= start < end <= len(text)
        assert before[1] <= end
        before = (start, end)
        if token != "[UNK]":
            assert token.removeprefix("##") in normal_form(text[start:end], tokenizer)


def normal_form(stretch: str, tokenizer: JapaneseTokenizer) -> str:
    if tokenizer is not PLAIN_BERT:
        return unicodedata.normalize("NFKC", stretch)
    lowered = "".join(character.lower() for character in unicodedata.normalize("NFD", stretch))
    return "".join(character for character in lowered if unicodedata.category(character) != "Mn")


@pytest.mark.parametrize("text", ["あ" * 1_000_000, "駅から近い。" * 50_000])
def test_a_text_of_any_length_is_read_to_its_end(text):
    """MeCab's stack overflows at about a million characters without a break, and takes the process with it."""
    tokenizer = JapaneseTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "あ", "##あ", "駅", "から", "近い", "。"]
    )
    batch = tokenizer.encode_batch([text, "駅"], max_length=12, truncation="head_tail")
    assert batch.truncated.tolist() == [True, False]
    assert tokenizer.decode(batch[0].ids[-2:-1]).removeprefix("##") == text[-1]
