"""Ids of unigram models equal those of SentencePiece and of the library `tokenizers`, and their places are right.

On small models trained here; with TEZUKURI_DATA, a folder with data/tokenizers/ in it, on three real ones.
"""

import gzip
import json
import os
import pickle
import random
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from unigrams import (
    AROUND,
    FAST,
    SENTENCES,
    SPECIAL,
    T5,
    TRAINED,
    by_sentencepiece,
    by_tokenizers,
    differences,
    folder_of,
    is_new,
    json_model,
    model_file,
    odd_text,
    reviews,
)

from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.tokenize.model_file import read_model
from tezukuri.tokenize.pieces import Cut, Unigram
from tezukuri.tokenize.unigram import UnigramTokenizer

DATA = Path(os.environ.get("TEZUKURI_DATA", "/nonexistent"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="TEZUKURI_DATA does not name the folder of test data")
RANDOM = random.Random(0)
ODD_TEXTS = [*SENTENCES, *(odd_text(RANDOM) for _ in range(400))]


# ---- the best way to cut a word, by hand


def test_the_likeliest_way_wins_and_its_margin_is_known():
    unigram = Unigram({"a": -1.0, "b": -2.0, "ab": -2.5, "bc": -1.0}, unknown=-9.0, sums="d")
    assert (unigram.cut("ab").places, unigram.cut("ab").total) == ([0, 2], -2.5)  # not a b: -3
    assert (unigram.cut("abc").places, unigram.cut("abc").total) == ([0, 1, 3], -2.0)  # not ab c: -11.5
    assert unigram.cut("ab").margin == 0.5 and unigram.cut("abc").margin == 9.5
    assert unigram.cut("xa").places == [0, 1, 2] and unigram.cut("").places == [0]


def test_ways_that_differ_by_rounding_alone_are_not_taken_from_the_cache():
    # 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 in double precision; which way wins hangs on what stands before.
    unigram = Unigram({"a": -0.1, "b": -0.2, "ab": -0.3, "c": -0.3}, unknown=-9.0, sums="d")
    ids = unigram.cut_many([["ab"], ["c"]], lambda word, cut: tuple(cut.places))
    assert list(ids) == [None, [0, 1]]


# ---- ids


@pytest.mark.parametrize("name", TRAINED)
def test_ids_are_those_of_sentencepiece(name, tmp_path):
    ours, oracle = by_sentencepiece(tmp_path, name)
    assert differences(ours, oracle, [text for text in ODD_TEXTS if left_by(ours, text)]) == []
    assert differences(ours, oracle, reviews()[:300]) == []


def left_by(ours: UnigramTokenizer, text: str) -> bool:
    """Whether the character map leaves anything of a text; where not, SentencePiece may put a lone ▁ there."""
    return not text or ours.normal(text) != ""


@pytest.mark.parametrize("name", AROUND)
def test_ids_are_those_of_tokenizers(name, tmp_path):
    ours, oracle = by_tokenizers(tmp_path, name)
    # Its trainer makes special tokens pieces like all others; here a text cannot mean them.
    texts = [text for text in ODD_TEXTS if not any(token in text for token in SPECIAL) and not is_new(text)]
    assert differences(ours, oracle, texts) == []
    assert differences(ours, oracle, reviews()[:300]) == []


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.parametrize("strips", [False, True])
def test_special_tokens_that_are_asked_for_are_those_of_tokenizers(name, strips, tmp_path):
    """With what stands beside them: a mask may take blanks with it, and the text behind it is not always the first."""
    content = json.loads(json_model(name))
    mask = next(token for token in content["added_tokens"] if token["content"] == "<mask>")
    mask["lstrip"] = strips
    folder_of(tmp_path, "tokenizer.json", json.dumps(content).encode(), FAST)
    ours = UnigramTokenizer.from_pretrained(tmp_path)
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = ["<mask>", "<mask>駅", "駅 <mask> から", "駅<mask>から", " <mask>\u3000<s>です</s>", "<mask> <mask>a b"]
    texts += [f"{text}\u3000 <mask>{text}" for text in SENTENCES]
    for text in texts:
        assert [token.id for token in ours.tokens_of(text, special_tokens=True)] == oracle.encode(
            text, add_special_tokens=False
        ).ids, text


def test_a_text_cannot_mean_a_special_token_unless_asked(tmp_path):
    for ours, _ in (by_sentencepiece(tmp_path / "a", "nmt_nfkc"), by_tokenizers(tmp_path / "b", "as XLM-R")):
        special = set(ours.special_ids.values()) - {ours.unk_id}
        assert {"</s>", "<pad>", "<mask>"} <= ours.special_ids.keys()
        text = "駅は<mask>です<s></s><pad>"
        assert not special & {token.id for token in ours.tokens_of(text)}
        assert not special & set(ours.ids_of(text))
        asked = ours.encode(text, special_tokens=True)
        assert asked.offsets[asked.tokens.index("<mask>")] == (2, 8) and special <= set(asked.ids)


def test_tokens_that_are_not_special_are_cut_out_before_all_else(tmp_path):
    content = json.loads(json_model("as T5"))
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    for number, token in enumerate(("ＡＢ", "ＡＢＣ"), start=1600):  # as they are given: not normalized
        content["added_tokens"].append({"id": number, "content": token} | plain)
    # Files of version 4 of transformers list all of them again.
    config = FAST | {"added_tokens_decoder": {str(token["id"]): token for token in content["added_tokens"]}}
    folder_of(tmp_path, "tokenizer.json", json.dumps(content).encode(), config)
    ours = UnigramTokenizer.from_pretrained(tmp_path)
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("ＡＢＣ", "駅からＡＢＣ です", "ABC", "ＡＢＣＡＢＣ。", "ＡＢＡＢＣ"):
        expected = oracle.encode(text, add_special_tokens=False)
        assert [tuple(piece) for piece in ours.pieces_of(text)][-1][0] == expected.ids[-1]
        assert ours.ids_of(text) == [piece.id for piece in ours.pieces_of(text)] == expected.ids
    place = ours.encode("駅からＡＢＣ です")
    assert place.offsets[place.tokens.index("ＡＢＣ")] == (3, 6)


# ---- places


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return by_sentencepiece(tmp_path_factory.mktemp("plain"), "nmt_nfkc")[0]


def stretches(tokenizer: UnigramTokenizer, text: str) -> str:
    """The stretches of the text that its pieces stand for, with | between them."""
    return "|".join(text[piece.start : piece.end] for piece in tokenizer.pieces_of(text))


def test_places_are_kept_through_the_character_map(plain):
    # ▁ has the place of the character that it was put before; a stretch that became another is that stretch.
    assert stretches(plain, "ｶﾞｽ").replace("|", "") == "ｶﾞｶﾞｽ"
    assert plain.pieces_of("ｶﾞｽ")[-1].end == 3
    found = plain.encode("駅 ㍿です")
    inside = [place for token, place in zip(found.tokens, found.offsets, strict=True) if set(token) & set("株式会社")]
    assert inside and set(inside) == {(2, 3)}


def test_dropped_blanks_are_in_no_place(plain):
    assert [plain.pieces_of("  駅  ")[-1].start, plain.pieces_of("  駅  ")[-1].end] == [2, 3]


@pytest.mark.parametrize("name", ["nmt_nfkc", "byte_fallback", "own pieces", "blank as suffix", "blanks kept"])
def test_places_never_run_backwards_and_hold_their_piece(name, tmp_path):
    ours, _ = by_sentencepiece(tmp_path, name)
    for text in ODD_TEXTS[:300]:
        before = (0, 0)
        for token_id, start, end in ours.pieces_of(text):
            assert before[0] <= start < end <= len(text) and before[1] <= end
            before = (start, end)
            piece = ours.vocabulary[token_id].strip("▁")
            if token_id != ours.unk_id and piece and "<0x" not in piece and name != "own pieces":
                assert piece in ours.normal(text[start:end])


def test_bytes_have_the_place_of_their_character(tmp_path):
    ours, _ = by_sentencepiece(tmp_path, "byte_fallback")
    found = ours.encode("駅🍣")
    assert found.tokens[-5:] == ["<0xF0>", "<0x9F>", "<0x8D>", "<0xA3>", "</s>"]
    assert found.offsets[-5:-1] == [(1, 2)] * 4
    assert ours.decode(found.ids, skip_special_tokens=True) == "駅🍣"


def test_offsets_of_a_batch_are_those_of_each_text(plain):
    batch = plain.encode_batch(SENTENCES, offsets=True)
    each = [plain.encode(text) for text in SENTENCES]
    assert batch.ids.tolist() == [token_id for one in each for token_id in one.ids]
    assert list(map(tuple, batch.offsets.tolist())) == [place for one in each for place in one.offsets]


# ---- and the rest of a tokenizer


def test_the_way_back_is_that_of_sentencepiece(tmp_path):
    for name in ("nmt_nfkc", "byte_fallback", "identity"):
        ours, _ = by_sentencepiece(tmp_path / name, name)
        oracle = sentencepiece.SentencePieceProcessor(model_proto=model_file(name))
        for text in reviews()[:50]:
            ids = oracle.encode(text)
            if ours.unk_id not in ids:
                assert ours.decode(ids) == oracle.decode(ids).strip()


def test_words_begin_with_a_blank(plain):
    words = list(plain.words("駅から near the 駅"))
    assert [word.text for word in words] == ["駅から", "near", "the", "駅"]
    assert words[0].span == (0, 3) and words[-1].pieces[0].startswith("▁")
    assert plain.normalised("ｶﾞ  ＡＢＣ ") == "ガ ABC"


def test_a_tokenizer_can_be_pickled_and_keeps_no_more_than_it_must(plain):
    plain.encode_batch(reviews()[:100])
    again = pickle.loads(pickle.dumps(plain))
    assert again.encode("駅から") == plain.encode("駅から")
    assert len(pickle.dumps(plain)) < 2_000_000


def test_threads_share_a_tokenizer(plain):
    """While one reads what stretches were cut into, of which there are many, no other may add some."""
    shared, rng, interval = pickle.loads(pickle.dumps(plain)), random.Random(1), sys.getswitchinterval()
    for number in range(200_000):
        shared.unigram.stretches.add(f"\0\0{number}\0", Cut([0, 1], 0.0, 1.0), ())
    parts = [[[odd_text(rng) for _ in range(10)] for _ in range(50)] for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(lambda own: [list(shared.ids_of_many(texts)) for texts in own], parts))
    finally:
        sys.setswitchinterval(interval)
    assert found == [[list(plain.ids_of_many(texts)) for texts in own] for own in parts]


def test_a_full_cache_begins_anew(plain, monkeypatch):
    monkeypatch.setattr("tezukuri.tokenize.pieces.STRETCHES_KEPT", 50)
    before = [encoding.ids.tolist() for encoding in plain.encode_batch(reviews()[:20])]
    assert [plain.encode_batch([text])[0].ids.tolist() for text in reviews()[:20]] == before
    assert plain.unigram.stretches.size < 150  # what was kept, and a text


@pytest.mark.parametrize("text", ["あ" * 100_000, "駅から近い。" * 20_000, "か" + "\u3099\u0301" * 30_000, "ﾞ" * 50_000])
def test_a_long_text_takes_no_more_than_its_share_of_time(text, tmp_path):
    for make, name in ((by_sentencepiece, "nmt_nfkc"), (by_tokenizers, "as XLM-R")):
        ours, _ = make(tmp_path / name, name)
        start = time.perf_counter()
        ids = ours.encode_batch([text]).ids
        ours.pieces_of(text)
        assert time.perf_counter() - start < 5
        assert ids.size > 2


# ---- with TEZUKURI_DATA


REAL = {"rinna": "rinna", "llm": "llm-jp", "ku": "ku-nlp"}  # here, and in answers.json


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Name → ours and the reference, for the three real models."""
    folder, source = tmp_path_factory.mktemp("real"), DATA / "data" / "tokenizers"
    rinna = T5 | {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    llm = {"tokenizer_class": "LlamaTokenizer", "pad_token": "<PAD>", "mask_token": "<MASK>"}
    llm_file = (source / "llm-jp-3.0b1" / "llm-jp-tokenizer-100k.ver3.0b1.model").read_bytes()
    folder_of(folder / "rinna", "spiece.model", (source / "rinna-roberta" / "spiece.model").read_bytes(), rinna)
    folder_of(folder / "llm", "tokenizer.model", llm_file, llm)
    shutil.copytree(source / "ku-nlp-deberta-v2-large-japanese", folder / "ku")
    (folder / "ku").chmod(0o755)
    with gzip.open(folder / "ku" / "tokenizer.json.gz") as file:
        (folder / "ku" / "tokenizer.json").write_bytes(file.read())
    oracle = tokenizers.Tokenizer.from_file(str(folder / "ku" / "tokenizer.json"))
    oracle.encode_special_tokens = True

    def of_oracle(texts):
        return [encoding.ids for encoding in oracle.encode_batch(texts, add_special_tokens=False)]

    return {
        "rinna": (tokenizer_of(folder / "rinna"), reference(folder / "rinna" / "spiece.model")),
        "llm": (tokenizer_of(folder / "llm"), reference(folder / "llm" / "tokenizer.model")),
        "ku": (tokenizer_of(folder / "ku"), of_oracle),
    }


def reference(path):
    return sentencepiece.SentencePieceProcessor(model_file=str(path)).encode


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_known_answers(real, name):
    rows = json.loads((DATA / "data" / "tokenizers" / "answers.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) > 10
    for row in rows:
        found = real[name][0].tokens_of(row["text"], special_tokens=name == "ku")
        assert [piece.id for piece in found] == row[REAL[name]]["ids"]


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_odd_texts_by_real_models(real, name):
    assert differences(*real[name], [text for text in ODD_TEXTS if left_by(real[name][0], text)]) == []


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_five_thousand_lines_of_real_corpora(real, name):
    """benchmarks/tokenizing.py holds as many as one likes against the same references."""
    ours, oracle = real[name]
    lines = []
    for corpus in ("accommodation-dialogues", "kyoto-wikipedia", "persona-chat", "tatoeba-tanaka"):
        with gzip.open(DATA / "data" / "text" / f"{corpus}.txt.gz", "rt", encoding="utf-8", newline="\n") as file:
            lines += [line.rstrip("\n") for _, line in zip(range(1250), file, strict=False)]
    batch = ours.encode_batch(lines)
    added = len(ours.template.before), len(ours.template.after)
    for line, one, wanted in zip(lines, batch, oracle(lines), strict=True):
        assert one.ids[added[0] : len(one.ids) - added[1]].tolist() == wanted, line


@needs_data
def test_the_character_map_of_a_real_model_is_read_as_it_is_written(real):
    path = DATA / "data" / "tokenizers" / "rinna-roberta" / "spiece.model"
    oracle = sentencepiece.SentencePieceNormalizer(model_file=str(path))
    ours = real["rinna"][0]
    every = [chr(code) for code in range(1, 0x30000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 500):
        text = "a".join(every[start : start + 500])
        assert (
            ours.normal(text).removeprefix("▁").replace("▁", " ").strip()
            == oracle.normalize(text).replace("▁", " ").strip()
        )
    assert read_model(path.read_bytes()).charsmap
