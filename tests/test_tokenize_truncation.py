"""A text too long for the model is cut as announced, and the cut is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertJapaneseTokenizer

from tezukuri.tokenize.encoding import truncate
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.settings import Settings

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENIZER = JapaneseTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS],
    Settings(word_tokenizer_type="basic", subword_tokenizer_type="character"),
)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("letters")
    TOKENIZER.save(folder)
    return BertJapaneseTokenizer.from_pretrained(folder)


def tokens(text, pair=None, **how):
    return TOKENIZER.encode(text, pair, **how).tokens


def test_no_limit_cuts_nothing():
    encoding = TOKENIZER.encode(LETTERS * 100)
    assert len(encoding) == 2602
    assert not encoding.truncated


def test_a_text_that_just_fits_is_whole():
    assert tokens("abc", max_length=5) == ["[CLS]", "a", "b", "c", "[SEP]"]
    assert not TOKENIZER.encode("abc", max_length=5).truncated


@pytest.mark.parametrize("truncation", ["longest_first", "only_first"])
def test_a_single_text_loses_its_end(truncation):
    encoding = TOKENIZER.encode("abcdef", max_length=5, truncation=truncation)
    assert encoding.tokens == ["[CLS]", "a", "b", "c", "[SEP]"]
    assert encoding.offsets == [(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)]
    assert encoding.truncated


def test_head_tail_keeps_a_quarter_at_the_head_and_three_at_the_tail():
    assert tokens("abcdefghij", max_length=6, truncation="head_tail") == ["[CLS]", "a", "h", "i", "j", "[SEP]"]
    encoding = TOKENIZER.encode("abcdefghij", max_length=6, truncation="head_tail")
    assert encoding.offsets == [(0, 0), (0, 1), (7, 8), (8, 9), (9, 10), (0, 0)]
    # Sun et al. 2019: 128 and 382 of 510.
    kept, _, cut = truncate(list(range(1000)), None, 512, "head_tail", added=2)
    assert cut
    assert kept == [*range(128), *range(1000 - 382, 1000)]
    assert tokens("abc", max_length=2, truncation="head_tail") == ["[CLS]", "[SEP]"]


def test_head_tail_of_a_pair_shares_the_room_as_longest_first_does():
    encoding = TOKENIZER.encode("abcdefgh", "ijklmnop", max_length=11, truncation="head_tail")
    assert "".join(encoding.tokens[1:5]) == "afgh"
    assert "".join(encoding.tokens[6:10]) == "inop"


def test_only_first_and_only_second_cut_that_one():
    assert tokens("abcd", "efg", max_length=8, truncation="only_first")[1:3] == ["a", "b"]
    assert tokens("abcd", "efg", max_length=8, truncation="only_second")[-3:] == ["[SEP]", "e", "[SEP]"]


@given(first=st.integers(0, 26), second=st.integers(0, 26), room=st.integers(3, 60))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_pairs_are_cut_as_the_oracle_cuts_them(oracle, first, second, room):
    texts = LETTERS[:first], LETTERS[26 - second :]
    for truncation, reachable in [
        ("longest_first", True),
        ("only_first", second + 3 <= room),
        ("only_second", first + 3 <= room),
    ]:
        if reachable:
            ours = TOKENIZER.encode(*texts, max_length=room, truncation=truncation)
            theirs = oracle(*texts, max_length=room, truncation=truncation, return_token_type_ids=True)
            assert ours.ids == theirs["input_ids"]
            assert ours.type_ids == theirs["token_type_ids"]
            assert ours.truncated == (first + second + 3 > room)


@pytest.mark.parametrize("truncation", ["longest_first", "only_first", "head_tail"])
def test_a_batch_is_cut_as_single_texts_are(truncation):
    texts = [LETTERS[:n] for n in (0, 3, 6, 26)]
    pairs = [LETTERS[n:] for n in (25, 24, 23, 22)]
    for seconds in (None, pairs):
        batch = TOKENIZER.encode_batch(texts, seconds, max_length=9, truncation=truncation)
        singles = [
            TOKENIZER.encode(text, pair, max_length=9, truncation=truncation)
            for text, pair in zip(texts, seconds or [None] * 4, strict=True)
        ]
        assert [text.ids.tolist() for text in batch] == [single.ids for single in singles]
        assert [text.type_ids.tolist() for text in batch] == [single.type_ids for single in singles]
        assert batch.truncated.tolist() == [single.truncated for single in singles]


def test_the_truncated_share_is_told():
    batch = TOKENIZER.encode_batch(["ab", "abc", "abcd", "abcde"], max_length=5)
    assert batch.truncated.tolist() == [False, False, True, True]
    assert batch.truncated_share == 0.5
    assert TOKENIZER.encode_batch([]).truncated_share == 0.0


def test_a_batch_is_flat_arrays_with_boundaries():
    batch = TOKENIZER.encode_batch(["ab", "", "c"], pairs=["c", "d", ""])
    assert batch.ids.dtype == batch.type_ids.dtype == batch.boundaries.dtype == np.int64
    assert batch.boundaries.tolist() == [0, 6, 10, 14]
    assert batch.type_ids.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1]
    assert len(batch) == 3
    assert batch[-1].ids.tolist() == batch[2].ids.tolist() == [2, 7, 3, 3]
    assert batch[0].ids.base is not None  # a view
    with pytest.raises(IndexError, match="text 3 of a batch of 3"):
        batch[3]
    empty = TOKENIZER.encode_batch([])
    assert len(empty) == 0
    assert empty.boundaries.tolist() == [0]
    assert list(empty) == []


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match=r"'longest'.*longest_first, only_first, only_second, head_tail"):
        TOKENIZER.encode("a", truncation="longest")
    with pytest.raises(ValueError, match="max_length 2 has no room for the 3 special tokens"):
        TOKENIZER.encode("", "", max_length=2)
    with pytest.raises(ValueError, match="max_length 1 has no room for the 2"):
        TOKENIZER.encode_batch([], max_length=1)
    with pytest.raises(ValueError, match="'only_second' cuts the second text of a pair"):
        TOKENIZER.encode("a", truncation="only_second")
    with pytest.raises(ValueError, match=r"'only_first' cannot reach max_length 6: the texts have 2 and 4 tokens"):
        TOKENIZER.encode("ab", "cdef", max_length=6, truncation="only_first")
    with pytest.raises(ValueError, match="'only_second' cannot reach"):
        TOKENIZER.encode_batch(["abcd"], ["ef"], max_length=6, truncation="only_second")


def test_what_is_not_a_text_is_refused():
    with pytest.raises(TypeError, match="a text must be a str, not a float"):
        TOKENIZER.encode(float("nan"))
    with pytest.raises(TypeError, match=r"texts\[1\] must be a str, not a NoneType"):
        TOKENIZER.encode_batch(["a", None])
    with pytest.raises(TypeError, match="must be a list of texts, not one text"):
        TOKENIZER.encode_batch("abc")
    with pytest.raises(ValueError, match="2 texts but 1 pairs"):
        TOKENIZER.encode_batch(["a", "b"], ["c"])
