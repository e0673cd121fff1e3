"""A template says where special tokens stand; a batch has the places of tokens that single texts have."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_checkpoint import TEXTS, TOKENIZER

from tezukuri.tokenize.template import Template
from tezukuri.train.batch import Texts
from tezukuri.train.regularizers.word_noise import WordNoise

BERT = Template(("[CLS]",), ("[SEP]",), ("[SEP]",), second_type=1)
ROBERTA = Template(("<s>",), ("</s>", "</s>"), ("</s>",))
GEMMA = Template(("<bos>",), (), ())


@pytest.mark.parametrize(
    ("template", "single", "pair", "added", "by_type", "inside"),
    [
        (BERT, "[CLS] a b [SEP]", "[CLS] a b [SEP] c [SEP]", (2, 3), (2, 1), [1, 2]),
        (ROBERTA, "<s> a b </s>", "<s> a b </s> </s> c </s>", (2, 4), (3, 1), [1, 2]),
        (GEMMA, "<bos> a b", "<bos> a b c", (1, 1), (1, 0), [1, 2]),
    ],
    ids=["bert", "roberta", "gemma"],
)
def test_special_tokens_stand_where_the_template_says(template, single, pair, added, by_type, inside):
    assert template.around(["a", "b"]) == single.split()
    assert template.around(["a", "b"], ["c"]) == pair.split()
    assert (template.added(), template.added(paired=True)) == added
    assert template.added_by_type(False) == (added[0], 0) and template.added_by_type(True) == by_type
    assert list(template.inside(len(single.split()))) == inside
    assert template.special == set(pair.split()) - {"a", "b", "c"}


def test_a_template_of_tokens_becomes_one_of_ids():
    ids = ROBERTA.map({"<s>": 0, "</s>": 2}.__getitem__)
    assert ids == Template((0,), (2, 2), (2,)) and ids.around([7], []) == [0, 7, 2, 2, 2]
    assert TOKENIZER.template == Template((TOKENIZER.cls_id,), (TOKENIZER.sep_id,), (TOKENIZER.sep_id,), 1)


@pytest.mark.parametrize("max_length", [None, 9, 3])
@pytest.mark.parametrize("truncation", ["longest_first", "head_tail"])
def test_a_batch_has_the_places_of_single_texts(max_length, truncation):
    texts = [*TEXTS, "", "㍿の ﾎﾃﾙ  です", "[MASK]", "\ud800\0"]
    how = {"max_length": max_length, "truncation": truncation}
    for pairs in (None, texts[::-1]):
        batch = TOKENIZER.encode_batch(texts, pairs, offsets=True, **how)
        plain = TOKENIZER.encode_batch(texts, pairs, **how)
        singles = [TOKENIZER.encode(*both, **how) for both in zip(texts, pairs or [None] * 8, strict=True)]
        assert batch.offsets.shape == (len(batch.ids), 2) and batch.offsets.dtype == np.int64
        assert batch.offsets.tolist() == [list(place) for single in singles for place in single.offsets]
        for name in ("ids", "type_ids", "boundaries", "truncated"):
            assert np.array_equal(getattr(batch, name), getattr(plain, name))
            assert getattr(batch, name).dtype == getattr(plain, name).dtype
    assert plain.offsets is None
    assert TOKENIZER.encode_batch([], offsets=True).offsets.shape == (0, 2)


def test_word_noise_leaves_the_sep_between_the_texts_of_a_pair_and_each_token_on_its_side():
    texts = Texts(TOKENIZER.encode_batch(TEXTS[:2] * 20, TEXTS[2:] * 20), np.zeros((40, 2), np.float32))
    noise = WordNoise(alpha=0.4)
    noise.begin(SimpleNamespace(reads="first"), texts, texts)
    for text in texts.encodings:
        found = noise.noisy(text)
        special = [i for i in found.ids.tolist() if i in (TOKENIZER.cls_id, TOKENIZER.sep_id)]
        assert special == [TOKENIZER.cls_id, TOKENIZER.sep_id, TOKENIZER.sep_id]
        assert found.type_ids.tolist() == sorted(found.type_ids.tolist())
        middle = found.ids.tolist().index(TOKENIZER.sep_id)
        assert found.type_ids[middle] == 0 and found.type_ids[middle + 1] == 1 and 1 < middle < len(found.ids) - 2
