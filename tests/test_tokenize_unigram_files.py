"""Files of unigram models: those of transformers' classes, read and written; broken ones, and those of other kinds."""

import json
import random

import pytest
import tokenizers
import transformers
from transformers import AutoTokenizer
from unigrams import FAST, SENTENCES, T5, folder_of, json_model, model_file, reviews

from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.tokenize.model_file import read_model
from tezukuri.tokenize.tokenizer_json import number_of
from tezukuri.tokenize.unigram import UnigramTokenizer

PLAIN = {"pad_id": -1, "control_symbols": ""}  # as in XLM-R's file: <unk>, <s> and </s> before the pieces
TEXTS = [*SENTENCES[2:7], *reviews()[:30]]


def pieces() -> list[tuple[str, float]]:
    """Of the trained model, without <unk>, <s> and </s>."""
    model = read_model(model_file("nmt_nfkc", **PLAIN))
    return list(zip(model.pieces, model.scores, strict=True))[3:]


def specials(*tokens: str) -> list[tuple[str, float]]:
    return [(token, 0.0) for token in tokens]


def of_transformers(name: str) -> transformers.PreTrainedTokenizerBase:
    """A tokenizer of one of transformers' classes, with the trained model's pieces."""
    vocabulary = {
        "XLMRobertaTokenizer": [*specials("<s>", "<pad>", "</s>", "<unk>"), *pieces(), *specials("<mask>")],
        "CamembertTokenizer": [
            *specials("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
            *specials("<s>", "</s>"),
            *pieces(),
            *specials("<mask>"),
        ],
        "T5Tokenizer": [*specials("<pad>", "</s>", "<unk>"), *pieces(), *specials("<mask>")],
        "AlbertTokenizer": [*specials("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), *pieces()],
        "DebertaV2Tokenizer": [*specials("[PAD]", "[UNK]", "[CLS]", "[SEP]"), *pieces(), *specials("[MASK]")],
    }[name]
    charsmap = read_model(model_file("nmt_nfkc", **PLAIN)).charsmap
    more = {"extra_ids": 0, "mask_token": "<mask>"} if name == "T5Tokenizer" else {}
    return getattr(transformers, name)(vocab=vocabulary, _spm_precompiled_charsmap=charsmap, **more)


def assert_same(ours: UnigramTokenizer, theirs: transformers.PreTrainedTokenizerBase) -> None:
    assert (ours.pad_id, ours.unk_id, ours.mask_id) == (theirs.pad_token_id, theirs.unk_token_id, theirs.mask_token_id)
    for text, pair in zip(TEXTS, TEXTS[::-1], strict=True):
        assert ours.encode(text).ids == theirs(text, split_special_tokens=True)["input_ids"]
        expected = theirs(text, pair, split_special_tokens=True, return_token_type_ids=True)
        found = ours.encode(text, pair)
        assert (found.ids, found.type_ids) == (expected["input_ids"], expected["token_type_ids"])
        masked = f"{text} {theirs.mask_token} {pair}"
        assert ours.encode(masked, special_tokens=True).ids == theirs(masked)["input_ids"]


SAVED = ["XLMRobertaTokenizer", "CamembertTokenizer", "T5Tokenizer", "AlbertTokenizer", "DebertaV2Tokenizer"]


@pytest.mark.parametrize("name", SAVED)
def test_what_transformers_saves_is_read_and_what_is_saved_here_is_read_there(name, tmp_path):
    theirs = of_transformers(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = tokenizer_of(tmp_path / "theirs")
    assert type(ours) is UnigramTokenizer and ours.notes == []
    assert_same(ours, theirs)
    ours.save(tmp_path / "ours")
    assert_same(ours, AutoTokenizer.from_pretrained(tmp_path / "ours"))
    assert tokenizer_of(tmp_path / "ours").encode_batch(TEXTS).ids.tolist() == ours.encode_batch(TEXTS).ids.tolist()


# Where the special tokens of each class stand; T5's has two of 100 extra ids.
TEMPLATES = {
    "XLMRobertaTokenizer": (["<s>", "駅", "</s>"], ["<s>", "駅", "</s>", "</s>", "駅", "</s>"]),
    "CamembertTokenizer": (["<s>", "駅", "</s>"], ["<s>", "駅", "</s>", "</s>", "駅", "</s>"]),
    "MLukeTokenizer": (["<s>", "駅", "</s>"], ["<s>", "駅", "</s>", "</s>", "駅", "</s>"]),
    "T5Tokenizer": (["駅", "</s>"], ["駅", "</s>", "駅", "</s>"]),
    "LlamaTokenizer": (["<s>", "駅"], ["<s>", "駅", "<s>", "駅"]),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_class_says_where_the_special_tokens_of_its_model_stand(name, tmp_path):
    whole = name in ("T5Tokenizer", "LlamaTokenizer")  # whose files have every token
    content = model_file("nmt_nfkc", **({} if whole else PLAIN))
    config = {"tokenizer_class": name} | ({"pad_token": "<pad>", "mask_token": "<mask>"} if whole else {})
    ours = UnigramTokenizer.from_pretrained(folder_of(tmp_path, "spiece.model", content, config))
    single, pair = TEMPLATES[name]
    assert [token for token in ours.encode("駅").tokens if token != "▁"] == single
    assert [token for token in ours.encode("駅", "駅").tokens if token != "▁"] == pair
    assert set(ours.encode("駅", "駅").type_ids) == {0}


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "CamembertTokenizer"])
def test_ids_of_a_model_are_shifted_as_those_of_its_class(name, tmp_path):
    """The same ids from a .model as transformers' class has, for texts that both normalize alike."""
    content = model_file("nmt_nfkc", **PLAIN)
    folder = folder_of(tmp_path, "sentencepiece.bpe.model", content, {"tokenizer_class": name})
    ours, theirs = tokenizer_of(folder), of_transformers(name)
    assert ours.vocab_size == len(theirs)
    for text, pair in zip(reviews()[:30], reviews()[30:60], strict=True):
        assert ours.encode(text, pair).ids == theirs(text, pair)["input_ids"]
    ours.save(tmp_path / "again")
    assert tokenizer_of(tmp_path / "again").encode("駅").ids == ours.encode("駅").ids


def test_luke_adds_tokens_behind_the_pieces(tmp_path):
    folder = folder_of(
        tmp_path,
        "sentencepiece.bpe.model",
        model_file("nmt_nfkc", **PLAIN),
        {"tokenizer_class": "MLukeTokenizer", "additional_special_tokens": ["<ent>", "<ent2>", "<ent>", "<ent2>"]},
    )
    (folder / "added_tokens.json").write_text('{"<ent>": 1602, "<ent2>": 1603}')
    ours = tokenizer_of(folder)
    assert (ours.vocab_size, ours.mask_id) == (1604, 1601)
    assert ours.encode("駅<ent2>", special_tokens=True).ids[-2:] == [1603, 2]
    ours.save(tmp_path / "again")
    assert tokenizer_of(tmp_path / "again").special_ids == ours.special_ids
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "MLukeTokenizer"}')  # as the class adds them
    assert tokenizer_of(folder).special_ids == ours.special_ids
    (folder / "added_tokens.json").write_text('{"<ent>": 1602, "<ent2>": 1603, "<a>": 1604}')
    with pytest.raises(ValueError, match="the added token '<a>' is not special, and such ones are read"):
        tokenizer_of(folder)
    (folder / "added_tokens.json").write_text('{"<ent>": "1602"}')
    with pytest.raises(ValueError, match="the added token '<ent>' has the id '1602', which is no whole number from 0"):
        tokenizer_of(folder)


def test_extra_ids_of_t5_are_counted_down(tmp_path):
    folder = folder_of(tmp_path, "spiece.model", model_file(), T5 | {"extra_ids": 2})
    assert tokenizer_of(folder).vocabulary[-3:] == [read_model(model_file()).pieces[-1], "<extra_id_1>", "<extra_id_0>"]


def test_the_class_may_stand_in_the_models_config_or_follow_from_it(tmp_path):
    content = model_file("nmt_nfkc", **PLAIN)
    folder = folder_of(tmp_path, "sentencepiece.bpe.model", content, {})
    (folder / "config.json").write_text('{"model_type": "xlm-roberta"}')
    assert tokenizer_of(folder).encode("駅").tokens[0] == "<s>"
    (folder / "config.json").write_text('{"tokenizer_class": "MLukeTokenizer", "model_type": "luke"}')
    assert tokenizer_of(folder).pad_id == 1


def test_a_tokenizer_json_alone_says_everything_but_the_names(tmp_path):
    folder = folder_of(tmp_path, "tokenizer.json", json_model().encode(), FAST | {"tokenizer_class": None})
    tokenizer = tokenizer_of(folder)
    assert "names no tokenizer_class" in tokenizer.notes[0] and tokenizer.encode("駅").tokens[0] == "<s>"
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json: no pad_token and no mask_token is named: name it in tok"):
        tokenizer_of(folder)


# ---- what cannot be read


@pytest.mark.parametrize("kind", ["bpe", "word", "char"])
def test_a_model_of_another_kind_is_refused_by_name(kind, tmp_path):
    content = model_file("nmt_nfkc", model_type=kind, hard_vocab_limit=False)
    with pytest.raises(ValueError, match=rf"spiece\.model: .*of the kind '{kind}', and only 'unigram' is supported"):
        tokenizer_of(folder_of(tmp_path, "spiece.model", content, T5))


def changed(change) -> str:
    """The trained tokenizer.json after a change."""
    given = json.loads(json_model())
    change(given)
    return json.dumps(given)


NOT_READ = {
    "BPE": (lambda given: given["model"].update(type="BPE"), "its model is of the kind 'BPE', and only 'Unigram' is"),
    "WordPiece": (lambda given: given["model"].update(type="WordPiece"), "its model is of the kind 'WordPiece'"),
    "no unknown": (lambda given: given["model"].update(unk_id=None), "its model has no unk_id"),
    "normalizer": (lambda given: given["normalizer"].update(type="Nmt"), "its normalizer Nmt is not supported: only "),
    "expression": (
        lambda given: given.update(normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+"}, "content": ""}),
        r"its normalizer Replace has the expression '\(a\+\)\+', which is not supported",
    ),
    "pre-tokenizer": (
        lambda given: given.update(pre_tokenizer={"type": "ByteLevel"}),
        "its pre_tokenizer ByteLevel is",
    ),
    "post-processor": (
        lambda given: given.update(post_processor={"type": "ByteLevel"}),
        "its post_processor ByteLevel is not supported: only TemplateProcessing is",
    ),
    "strange token": (
        lambda given: given.update(post_processor={"type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["</s>", 2]}),
        r"'\[CLS\]' is put around texts, but is none of the special tokens",
    ),
    "pair": (
        lambda given: given["post_processor"]["pair"].reverse(),
        "its post_processor does not lay a pair as A and then B",
    ),
    "type ids": (
        lambda given: given["post_processor"]["pair"][0]["SpecialToken"].update(type_id=1),
        "its post_processor gives '<s>' the type id 1: before a second text only 0 is read",
    ),
    "type ids of the end": (
        lambda given: given["post_processor"]["pair"][5]["SpecialToken"].update(type_id=0),
        "its post_processor gives '</s>' the type id 0: behind a second text only that text's own is read",
    ),
    "added id": (lambda given: given["added_tokens"][4].update(id=7), "the added token '<mask>' has the id 7, where"),
    "added flag": (
        lambda given: given["added_tokens"][4].update(rstrip=True),
        "the added token '<mask>' is rstrip, which",
    ),
    "scores": (
        lambda given: given["model"]["vocab"][9].__setitem__(1, float("nan")),
        "a piece's score is not a number",
    ),
    "no model": (lambda given: given.pop("model"), "this is no tokenizer.json, or it is broken: KeyError 'model'"),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_would_change_the_ids_is_refused_by_name(name, tmp_path):
    change, said = NOT_READ[name]
    with pytest.raises(ValueError, match=rf"^{tmp_path}/tokenizer\.json: {said}") as refused:
        tokenizer_of(folder_of(tmp_path, "tokenizer.json", changed(change).encode(), FAST))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"truncation_side": "left"}, "setting truncation_side = 'left' is not supported"),
        ({"do_lower_case": "false"}, "setting do_lower_case = 'false' is not of the type that it must be"),
        ({"sp_model_kwargs": {"enable_sampling": True}}, "setting sp_model_kwargs = {'enable_sampling': True} is not"),
        ({"extra_ids": 10**9}, "setting extra_ids = 1000000000 is not supported: only 0 to 10000 are"),
        ({"model_max_length": "long"}, "setting model_max_length = 'long' is not of the type that it must be"),
        ({"mask_token": {"lstrip": True}}, "{'lstrip': True} is no token"),
        (
            {"mask_token": "[MASK]"},
            r"the vocabulary of 1600 tokens has no '[MASK]': add it, or name the mask_token that",
        ),
        ({"mask_token": None}, "no mask_token is named: name it in tokenizer_config.json"),
        (
            {"added_tokens_decoder": {"1605": {"content": "<a>"}}},
            "the added token '<a>' has the id 1605, where the last",
        ),
        (
            {"added_tokens_decoder": {"1600": {"content": "<a>", "special": False}}},
            "the added token '<a>' is not special, and such ones are read from the added_tokens of",
        ),
        ({"tokenizer_class": "AlbertTokenizer"}, "the ids of AlbertTokenizer are read from a tokenizer.json only"),
        ({"tokenizer_class": None}, "a .model needs one of XLMRobertaTokenizer, MLukeTokenizer, "),
        ({"tokenizer_class": "GPT2Tokenizer"}, "setting tokenizer_class = 'GPT2Tokenizer' is not supported: only "),
    ],
)
def test_settings_that_cannot_be_kept_are_told(config, said, tmp_path):
    with pytest.raises(ValueError) as refused:
        tokenizer_of(folder_of(tmp_path, "spiece.model", model_file(), T5 | config))
    assert said in str(refused.value) and str(refused.value).startswith(str(tmp_path))


def test_a_token_that_is_cut_out_and_stands_in_the_settings_alone_is_refused(tmp_path):
    added = {"added_tokens_decoder": {"1600": {"content": "ＡＢＣ"}}}  # where nothing is said, it is not special
    with pytest.raises(ValueError, match="the added token 'ＡＢＣ' is not special, and such ones are read"):
        tokenizer_of(folder_of(tmp_path, "tokenizer.json", json_model().encode(), FAST | added))


def test_a_token_that_is_cut_out_stays_one_when_it_is_saved(tmp_path):
    given = json.loads(json_model())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    given["added_tokens"].append({"id": 1600, "content": "駅から", **flags})
    folder = folder_of(tmp_path / "a", "tokenizer.json", json.dumps(given).encode(), FAST)
    (folder / "added_tokens.json").write_text('{"駅から": 1600}')
    ours = tokenizer_of(folder)
    ours.save(tmp_path / "again")
    ids = ours.encode("駅から近い").ids
    assert 1600 in ids and list(tokenizer_of(tmp_path / "again").encode("駅から近い").ids) == list(ids)


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has none of tokenizer\.json, "):
        UnigramTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("file", ["spiece.model", "tokenizer.json"])
def test_a_broken_file_is_one_sentence_that_names_it(file, tmp_path):
    """Or it is read: most bytes are those of scores and pieces, which nothing else depends on."""
    rng = random.Random(0)
    whole = model_file() if file == "spiece.model" else json_model().encode()
    refused = 0
    for turn in range(40):
        broken = bytearray(whole[: rng.randrange(len(whole))] if turn % 2 else whole)
        for _ in range(rng.choice([1, 3, 30]) if turn % 2 == 0 else 0):
            # Half of the changes are near the end, where the settings of a .model stand.
            broken[rng.choice([rng.randrange(len(broken)), len(broken) - 1 - rng.randrange(200)])] = rng.randrange(256)
        folder_of(tmp_path, file, bytes(broken), T5 if file == "spiece.model" else FAST)
        try:
            tokenizer = tokenizer_of(tmp_path)
        except ValueError as error:
            assert str(error).startswith(str(tmp_path)) and "\n" not in str(error)
            refused += 1
            continue
        for text in SENTENCES:
            assert tokenizer.encode(text).ids == tokenizer.encode_batch([text]).ids.tolist()
    assert refused > 20


def test_numbers_are_read_as_the_library_reads_them():
    library = json.loads(tokenizers.Tokenizer.from_str(json_model()).to_str())["model"]["vocab"]
    assert json.loads(json_model(), parse_float=number_of)["model"]["vocab"] == library
    assert json.loads(json_model())["model"]["vocab"] != library  # by a last bit
    assert [number_of(text) for text in ("-0.5", "1e3", "-2.5E-2", "1e-400", "1e400")] == [
        -0.5,
        1000.0,
        -0.025,
        0.0,
        float("inf"),
    ]
