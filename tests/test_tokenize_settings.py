"""Reading and writing a tokenizer's files, worker processes, and a vocabulary of one's own."""

import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import AutoTokenizer

from tezukuri.tokenize.dictionaries import dictionary_options
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.settings import Settings
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.tokenize.wordpiece import WordIds

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["東京の駅から近くて便利でした。", "東京のタワーは高い、Tokyo Tower!", "Café ＡＢＣ ｶﾞﾗｽ"]
MECAB = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}


def folder_of(path, config=None, vocabulary=None, **files):
    (path / "vocab.txt").write_text("\n".join(vocabulary or vocabulary_of(TEXTS * 2)) + "\n", encoding="utf-8")
    for name, contents in {"tokenizer_config": config, **files}.items():
        if contents is not None:
            (path / f"{name}.json").write_text(json.dumps(contents))
    return path


def settings_of(path, config, **files):
    return JapaneseTokenizer.from_pretrained(folder_of(path, config, **files)).settings


# ---- what a folder says


def test_defaults_of_a_japanese_tokenizer(tmp_path):
    assert settings_of(tmp_path, {"tokenizer_class": "BertJapaneseTokenizer"}) == Settings(word_tokenizer_type="basic")


def test_mecab_settings(tmp_path):
    kwargs = {"mecab_dic": "ipadic", "mecab_option": "-c 1000", "normalize_text": False}
    found = settings_of(tmp_path, MECAB | {"mecab_kwargs": kwargs, "do_lower_case": True, "model_max_length": 512})
    assert found == Settings(
        mecab_dic="ipadic", mecab_option="-c 1000", normalize_text=False, do_lower_case=True, model_max_length=512
    )


def test_a_dictionary_may_be_named_by_option_alone(tmp_path):
    kwargs = {"mecab_dic": None, "mecab_option": dictionary_options("unidic_lite")}
    tokenizer = JapaneseTokenizer.from_pretrained(folder_of(tmp_path, MECAB | {"mecab_kwargs": kwargs}))
    assert tokenizer.tokenize("東京の駅") == ["東京", "の", "駅"]


@pytest.mark.parametrize("config", [None, {}])
def test_without_settings_it_is_an_uncased_bert_and_says_so(tmp_path, config):
    tokenizer = JapaneseTokenizer.from_pretrained(folder_of(tmp_path, config))
    expected = Settings("BertTokenizer", "basic", do_lower_case=True, tokenize_chinese_chars=True)
    assert tokenizer.settings == expected
    assert len(tokenizer.notes) == 2 and "が becomes か" in tokenizer.notes[1]
    assert "assumed the tokenizer to be a BertTokenizer" in tokenizer.notes[0]
    assert str(tmp_path / "tokenizer_config.json") in tokenizer.notes[0]


def test_the_class_may_stand_in_the_models_config(tmp_path):
    tokenizer = JapaneseTokenizer.from_pretrained(folder_of(tmp_path, {"word_tokenizer_type": "mecab"}))
    assert tokenizer.settings == Settings()
    assert "its other settings" in tokenizer.notes[0]
    (tmp_path / "config.json").write_text(json.dumps({"tokenizer_class": "BertJapaneseTokenizer"}))
    assert "its other settings" not in "".join(JapaneseTokenizer.from_pretrained(tmp_path).notes)


@pytest.mark.parametrize(
    ("kwargs", "note"),
    [
        (None, "names no MeCab dictionary: assumed unidic_lite, the default of transformers"),
        ({"normalize_text": True}, "names no MeCab dictionary: assumed unidic_lite"),
        ({"mecab_dic": None}, "names no MeCab dictionary: this machine's own is read"),
        ({"mecab_dic": "ipadic"}, None),
        ({"mecab_option": dictionary_options("ipadic")}, None),
        ({"mecab_option": "-c 500"}, "names no MeCab dictionary: assumed unidic_lite"),
    ],
)
def test_a_dictionary_that_no_setting_names_is_noted(tmp_path, kwargs, note):
    notes = Settings.of_folder(folder_of(tmp_path, MECAB | {"mecab_kwargs": kwargs}))[1]
    assert [note in found for found in notes] == [True] if note else notes == []
    whole = MECAB | {"mecab_kwargs": kwargs, "do_word_tokenize": False}
    assert Settings.of_folder(folder_of(tmp_path, whole))[1] == []


@pytest.mark.parametrize("kind", ["", "-whole-word-masking", "-char", "-char-whole-word-masking", "-v2"])
@pytest.mark.parametrize("owner", ["cl-tohoku", "tohoku-nlp"])
@pytest.mark.parametrize("place", ["models--{0}--{1}/snapshots/0123", "{0}/{1}", "clones/{1}"])
def test_tohokus_first_models_are_read_with_the_dictionary_they_were_made_with(tmp_path, owner, kind, place):
    folder = tmp_path / place.format(owner, f"bert-base-japanese{kind}")
    folder.mkdir(parents=True)
    config = {"do_lower_case": False, "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece"}
    folder_of(folder, config)
    (folder / "config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    tokenizer = JapaneseTokenizer.from_pretrained(folder)
    (note,) = tokenizer.notes
    words = [word.text for word in tokenizer.words("日本人でした")]
    if kind == "-v2":
        assert "assumed unidic_lite" in note
    else:
        assert f"read with ipadic, with which Tohoku's bert-base-japanese{kind} was made" in note
    own = JapaneseTokenizer(tokenizer.vocabulary, Settings(mecab_dic="unidic_lite" if kind == "-v2" else "ipadic"))
    assert words == [word.text for word in own.words("日本人でした")]
    folder_of(folder, config | {"mecab_kwargs": {"mecab_dic": "unidic_lite"}})
    assert JapaneseTokenizer.from_pretrained(folder).settings.mecab_dic == "unidic_lite"


@pytest.mark.parametrize(
    "place", ["models--someone--bert-base-japanese/snapshots/0123", "bert-base-japanese-2", "model"]
)
def test_models_of_others_are_not_taken_for_tohokus_first(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    settings, (note,) = Settings.of_folder(folder_of(tmp_path / place, MECAB))
    assert settings.mecab_dic == "unidic_lite" and "names no MeCab dictionary: assumed unidic_lite" in note


@pytest.mark.parametrize(
    ("config", "vocabulary", "said"),
    [
        (None, None, ", and が becomes か; for MeCab write there"),
        ({"do_lower_case": True}, None, ", and が becomes か; for MeCab write there"),
        ({"do_lower_case": False}, None, "without MeCab; for MeCab write there"),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, None, "without MeCab; for MeCab write there"),
        ({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"}, None, None),
        ({"tokenizer_class": "BertTokenizer"}, None, None),
        (None, [*SPECIALS, *map(chr, range(0x4E00, 0x4E80)), "の", "か"], None),  # as an English or a Chinese BERT has
    ],
)
def test_a_japanese_vocabulary_without_settings_is_noted(tmp_path, config, vocabulary, said):
    tokenizer = JapaneseTokenizer.from_pretrained(folder_of(tmp_path, config, vocabulary))
    notes = [note for note in tokenizer.notes if "the vocabulary is Japanese" in note]
    assert [said in note for note in notes] == [True] if said else notes == []
    if said and "か" in said:
        assert tokenizer.normalised("が") == "か"


def test_special_tokens_by_other_names(tmp_path):
    vocabulary = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "東京", "の"]
    config = MECAB | {"pad_token": "<pad>", "unk_token": {"content": "<unk>", "lstrip": False}, "mask_token": "<mask>"}
    named = {"cls_token": "<s>", "sep_token": {"content": "</s>"}}
    tokenizer = JapaneseTokenizer.from_pretrained(
        folder_of(tmp_path, config, vocabulary, special_tokens_map=named, added_tokens={"<mask>": 4})
    )
    assert tokenizer.encode("東京の<mask>駅", special_tokens=True).ids == [2, 5, 6, 4, 1, 3]
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert tokenizer.decode([2, 5, 6, 4, 1, 3], skip_special_tokens=True) == "東京 の"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tokenizer_class": "T5Tokenizer"}, r"tokenizer_class = 'T5Tokenizer' is not supported: only BertJap"),
        (MECAB | {"word_tokenizer_type": "sudachi"}, "word_tokenizer_type = 'sudachi' is not supported"),
        (MECAB | {"word_tokenizer_type": "jumanpp"}, "word_tokenizer_type = 'jumanpp' is not supported"),
        (MECAB | {"subword_tokenizer_type": "sentencepiece"}, "subword_tokenizer_type = 'sentencepiece'"),
        (MECAB | {"mecab_kwargs": {"mecab_dict": "ipadic"}}, r"mecab_kwargs\.mecab_dict is not supported"),
        (MECAB | {"mecab_kwargs": {"mecab_dic": "jumandic"}}, r"mecab_dic 'jumandic' is not known: use one of unidic"),
        (MECAB | {"mecab_kwargs": {"mecab_option": "-a"}}, "mecab_option '-a' is not supported: only -d, -r, -u"),
        (MECAB | {"never_split": ["東京"]}, r"never_split = \['東京'\] is not supported"),
        (MECAB | {"do_subword_tokenize": False}, "do_subword_tokenize = False is not supported"),
        (MECAB | {"truncation_side": "left"}, "truncation_side = 'left' is not supported"),
        (MECAB | {"additional_special_tokens": ["<e>"]}, r"additional_special_tokens = \['<e>'\] is not supported"),
        (MECAB | {"added_tokens_decoder": {"99": {"content": "<e>"}}}, "added token '<e>' is not supported"),
        (MECAB | {"added_tokens_decoder": [1]}, r"added_tokens_decoder = \[1\] is not of the type that it must be"),
        (MECAB | {"mecab_kwargs": 5}, "mecab_kwargs = 5 is not of the type that it must be"),
        (MECAB | {"model_max_length": "512"}, "model_max_length = '512' is not of the type that it must be"),
        (MECAB | {"do_lower_case": "false"}, "do_lower_case is 'false', but must be <class 'bool'>"),
        (MECAB | {"mask_token": "<mask>"}, r"has no '<mask>': add it, or name the mask_token"),
        ([1], r"tokenizer_config\.json holds a list, but must hold a JSON object"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused_by_name(tmp_path, config, message):
    with pytest.raises(ValueError, match=message) as error:
        JapaneseTokenizer.from_pretrained(folder_of(tmp_path, config))
    assert str(tmp_path) in str(error.value)


def test_settings_that_ask_for_nothing_are_let_be(tmp_path):
    config = MECAB | {"never_split": None, "sudachi_kwargs": None, "do_subword_tokenize": True, "name_or_path": "x"}
    decoder = {str(i): {"content": token, "special": True} for i, token in enumerate(SPECIALS)}
    assert settings_of(tmp_path, config | {"added_tokens_decoder": decoder}) == Settings()


def test_a_byte_order_mark_before_the_settings_is_passed_over(tmp_path):
    (folder_of(tmp_path) / "tokenizer_config.json").write_text(json.dumps(MECAB), encoding="utf-8-sig")
    assert JapaneseTokenizer.from_pretrained(tmp_path).settings == Settings()


def test_broken_files_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vocabulary at .*vocab\.txt"):
        JapaneseTokenizer.from_pretrained(tmp_path)
    folder_of(tmp_path, added_tokens={"<e>": 99})
    with pytest.raises(ValueError, match="added token '<e>' is not supported"):
        JapaneseTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer_config\.json is not valid JSON: .*line 1 column 2"):
        JapaneseTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt is not UTF-8"):
        JapaneseTokenizer.from_pretrained(tmp_path)


def test_a_special_token_must_be_in_the_vocabulary():
    with pytest.raises(
        ValueError, match=r"the vocabulary of 5 tokens has no '\[MASK\]': add it, or name the mask_token"
    ):
        JapaneseTokenizer([*SPECIALS[:4], "東京"])


def test_a_dictionary_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "unidic", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the MeCab dictionary unidic: pip install unidic"):
        JapaneseTokenizer(SPECIALS, Settings(mecab_dic="unidic"))


def test_a_bert_has_no_mecab():
    with pytest.raises(ValueError, match="a BertTokenizer has word_tokenizer_type 'basic'"):
        Settings("BertTokenizer", "mecab")


# ---- saving


@pytest.mark.parametrize(
    "setting",
    [
        Settings(model_max_length=512),
        Settings(mecab_dic="ipadic", mecab_option="-c 2000", do_lower_case=True),
        Settings(normalize_text=False),
        Settings(subword_tokenizer_type="character"),
        Settings(word_tokenizer_type="basic"),
        Settings(do_word_tokenize=False),
        Settings("BertTokenizer", "basic", do_lower_case=True, tokenize_chinese_chars=True),
        Settings("BertTokenizer", "basic", do_lower_case=False, strip_accents=True),
        Settings(mask_token="<mask>", unk_token="<unk>"),
    ],
)
def test_what_was_saved_is_read_back_here_and_by_the_oracle(tmp_path, setting):
    tokenizer = JapaneseTokenizer(vocabulary_of(TEXTS * 2, setting), setting)
    tokenizer.save(tmp_path / "new" / "folder")
    again = JapaneseTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert again.settings == setting
    assert again.vocabulary == tokenizer.vocabulary
    assert again.notes == []
    (tmp_path / "new" / "folder" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    oracle = AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert len(oracle) == tokenizer.vocab_size
    assert type(oracle).__name__ == setting.tokenizer_class
    for text in [*TEXTS, f"東京の{setting.mask_token}"]:
        assert again.encode(text, special_tokens=True).ids == oracle(text).input_ids
    if setting.model_max_length:
        assert oracle.model_max_length == again.model_max_length


def test_a_token_with_a_line_break_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"token 5, 'a\\nb', holds a line break"):
        JapaneseTokenizer([*SPECIALS, "a\nb"]).save(tmp_path)


# ---- special tokens as text


@pytest.mark.parametrize(
    "setting",
    [
        Settings(),
        Settings(do_word_tokenize=False),
        Settings(word_tokenizer_type="basic"),
        Settings("BertTokenizer", "basic"),
        Settings(subword_tokenizer_type="character"),
    ],
)
def test_text_cannot_mean_a_special_token_unless_asked(setting):
    tokenizer = JapaneseTokenizer(vocabulary_of(["[SEP] [MASK] 東京 [CLS] [PAD]"] * 2, setting), setting)
    text = "東京 [SEP] [MASK] [CLS][PAD]"
    forbidden = {tokenizer.sep_id, tokenizer.mask_id, tokenizer.cls_id, tokenizer.pad_id}
    assert not forbidden & set(tokenizer.encode(text).ids[1:-1])
    assert not forbidden & set(tokenizer.encode_batch([text])[0].ids[1:-1].tolist())
    assert tokenizer.encode(text, special_tokens=True).tokens[-5:-1] == ["[SEP]", "[MASK]", "[CLS]", "[PAD]"]


def test_decoding_puts_spaces_between_words_and_names_an_id_that_is_not_there():
    tokenizer = JapaneseTokenizer([*SPECIALS, "東京", "##駅"])
    assert tokenizer.decode([2, 5, 6, 5, 3]) == "[CLS] 東京駅 東京 [SEP]"
    assert tokenizer.decode([2, 5, 6, 5, 3], skip_special_tokens=True) == "東京駅 東京"
    for out in (7, -1):
        with pytest.raises(IndexError, match=f"id {out} is not in the vocabulary: its ids are 0 to 6"):
            tokenizer.decode([out])


# ---- processes


def ids_in_a_worker(tokenizer, text):
    return tokenizer.encode_batch([text]).ids.tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(method):
    tokenizer = JapaneseTokenizer(vocabulary_of(TEXTS * 2))
    expected = [ids_in_a_worker(tokenizer, text) for text in TEXTS]  # makes the tagger before the fork
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(ids_in_a_worker, [(tokenizer, text) for text in TEXTS]) == expected


def test_a_pickle_leaves_the_kept_words_behind():
    tokenizer = JapaneseTokenizer(vocabulary_of(TEXTS * 2))
    expected = tokenizer.encode_batch(TEXTS).ids.tolist()
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert len(tokenizer.word_ids) > 10
    assert len(copy.word_ids) == 0
    assert copy.encode_batch(TEXTS).ids.tolist() == expected


def test_tokenizers_of_a_thread_share_what_mecab_has_mapped():
    """fugashi never frees a tagger: one for each tokenizer would map another 100 MB with each model that is loaded."""
    one, other = (JapaneseTokenizer(vocabulary_of(texts)).split for texts in (TEXTS, TEXTS[:2]))
    assert one.tagger is other.tagger and one.spacing_tagger is other.spacing_tagger
    assert one.tagger is not one.spacing_tagger
    optional = JapaneseTokenizer(vocabulary_of(TEXTS), Settings(mecab_option="-c 2000")).split
    assert optional.tagger is not one.tagger
    with ThreadPoolExecutor(1) as pool:  # MeCab's words last until the next text, which another thread may read
        elsewhere = pool.submit(lambda: (one.tagger, one.spacing_tagger)).result()
    assert elsewhere[0] is not one.tagger and elsewhere[1] is not one.spacing_tagger


def test_kept_words_are_bounded(monkeypatch):
    monkeypatch.setattr("tezukuri.tokenize.wordpiece.WORDS_KEPT", 2)
    asked = []
    kept = WordIds(lambda word: asked.append(word) or ())
    for word in ["a", "b", "c", "a", "c", "x" * 101, "x" * 101]:
        assert kept[word] == ()
    assert asked == ["a", "b", "c", "c", "x" * 101, "x" * 101]
    assert list(kept) == ["a", "b"]


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(do_lower_case=True), Settings(mecab_option="-c 2000"), Settings(do_word_tokenize=False)],
    ids=["plain", "lower", "option", "whole"],
)
def test_many_texts_have_the_ids_that_each_has_alone(settings, monkeypatch):
    monkeypatch.setattr("tezukuri.tokenize.japanese.TEXTS_AT_ONCE", 3)
    monkeypatch.setattr("tezukuri.tokenize.words.LONGEST_TEXT", 40)
    odd = ["", " ", "東京\x1f駅", "駅。", ".", "\x1f", "終わり\x85", "長い" * 50, "\0", "", "ΟΔΟΣ 駅", "最後."]
    texts = [*TEXTS, *odd, *reversed(odd), *TEXTS]
    tokenizer = JapaneseTokenizer(vocabulary_of([*TEXTS, *odd] * 2, settings), settings)
    batch = tokenizer.encode_batch(texts)
    assert [ids.tolist() for ids, _ in batch] == [tokenizer.encode(text).ids for text in texts]
    pairs = tokenizer.encode_batch(texts, texts[::-1])
    found = [(ids.tolist(), types.tolist()) for ids, types in pairs]
    expected = [tokenizer.encode(text, pair) for text, pair in zip(texts, texts[::-1], strict=True)]
    assert found == [(one.ids, one.type_ids) for one in expected]


def test_the_tokenizer_starts_without_torch():
    code = "import sys, tezukuri.tokenize.japanese; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- a vocabulary from texts


def test_vocabulary_of_texts():
    texts = ["東京の駅", "東京の駅は東京", "Ａ店 タワー"]
    assert vocabulary_of(texts) == [
        *SPECIALS,
        *"Aのはタワー京店東駅",
        *("##" + character for character in "Aのはタワー京店東駅"),
        "東京",  # three times; の and 駅, twice, are there as characters
    ]
    assert vocabulary_of(texts) == vocabulary_of(iter(texts))
    assert "タワー" in vocabulary_of(texts, least=1)


def test_no_character_that_was_seen_is_unknown():
    tokenizer = JapaneseTokenizer(vocabulary_of(TEXTS))
    for text in TEXTS:
        assert "[UNK]" not in tokenizer.tokenize(text)


def test_vocabulary_of_characters():
    assert vocabulary_of(["東京の東"], Settings(subword_tokenizer_type="character")) == [*SPECIALS, *"の京東"]
